"""What happens to data as people really have them; the guide's table says the same, case by case."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.batch.casting import Caster
from lading.batch.checking import check_output
from lading.batch.inputs import find_inputs
from lading.batch.run import Options, run_batch
from lading.batch.tables import Span, batch_rows, open_table
from lading.bundle import Bundle
from lading.errors import InputError, UsageError
from lading.signature import Signature, Tensor
from support.batch_runs import COLUMNS, aside, scored
from support.bundles import linear_bundle
from support.echo_models import bundle_of, model_of

Outcome = Literal["scored", "set aside", "refused"]
GUIDE = Path(__file__).parents[2] / "docs/guides/batch.md"
HEADER = ",".join(COLUMNS)
KINDS = (
    Tensor(name="f", dtype="float32", shape=("batch",)),
    Tensor(name="d", dtype="float64", shape=("batch",), allows_nan=True),
    Tensor(name="n", dtype="int64", shape=("batch",)),
    Tensor(name="small", dtype="int8", shape=("batch",)),
    Tensor(name="b", dtype="bool", shape=("batch",)),
    Tensor(name="s", dtype="string", shape=("batch",)),
    Tensor(name="v", dtype="float32", shape=("batch", 3)),
)
"""The inputs of a model that has one of each kind."""


@dataclass(frozen=True)
class Case:
    """Files as they are, a row of the guide's table, and the outcome of each row.

    ``aside`` is the reason of each row that is not scored, ``refused`` a part of the sentence that ends the
    run. ``model`` is `iris` (four columns) or `kinds` (one of each kind).
    """

    row: str
    name: str
    files: Mapping[str, bytes | pa.Table]
    scored: int = 0
    aside: Mapping[int, str] = field(default_factory=dict)
    refused: str = ""
    keep: tuple[str, ...] = ()
    model: Literal["iris", "kinds"] = "iris"

    @property
    def outcome(self) -> Outcome:
        return "refused" if self.refused else "set aside" if self.aside else "scored"


def text(*lines: str, header: str = HEADER, end: str = "\n", encoding: str = "utf-8") -> bytes:
    return (end.join([header, *lines]) + end).encode(encoding)


def iris_table(count: int = 3, **changes: Any) -> pa.Table:
    columns = {name: pa.array([1.0 + at for at in range(count)]) for name in COLUMNS}
    return pa.table({**columns, **changes})


def kinds(**changes: Any) -> pa.Table:
    columns = {
        "f": pa.array([1.0] * 3, pa.float32()),
        "d": pa.array([1.0] * 3),
        "n": pa.array([1] * 3),
        "small": pa.array([1] * 3),
        "b": pa.array([True] * 3),
        "s": pa.array(["a"] * 3),
        "v": pa.array([[1.0, 2.0, 3.0]] * 3),
    }
    return pa.table({**columns, **changes})


def first(values: Any, kind: pa.DataType | None = None) -> pa.Table:
    return iris_table(len(values), sepal_length=pa.array(values, kind))


def line(**changes: Any) -> str:
    return json.dumps({**dict.fromkeys(COLUMNS, 1.0), **changes})


def arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, **options)
    return bytes(sink.getvalue())


def flipped(data: bytes, at: int, count: int = 6) -> bytes:
    return data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + count]) + data[at + count :]


def not_utf8(name: str) -> pa.Table:
    offsets = pa.py_buffer(np.array([0, 1, 2, 3], np.int32).tobytes())
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xffb"))
    return kinds(**{name: texts})


BIG = parquet_bytes(iris_table(50_000), write_page_checksum=True, compression="none")
WRONG_LENGTHS = arrow(kinds(s=pa.array(["abc"] * 3))).replace(
    np.array([0, 3, 6, 9], "<i4").tobytes(), np.array([0, 3, 2**30, 9], "<i4").tobytes()
)
PACKED = gzip.compress(text(*["1,2,3,4"] * 5000))
NUMBER, FLOAT = "expected a number, found", "column `sepal_length`: expected `float32`, found"

CASES = [
    # A row of the guide, a case of it, and its outcome.
    Case("columns in another order", "Parquet", {"a.parquet": iris_table().select(COLUMNS[::-1])}, 3),
    Case("columns in another order", "CSV", {"a.csv": text("1,2,3,4", header=",".join(COLUMNS[::-1]))}, 1),
    Case(
        "a column that is missing",
        "Parquet",
        {"a.parquet": iris_table().drop_columns(["petal_width"])},
        refused="expected column `petal_width`",
    ),
    Case(
        "a column that is missing",
        "CSV",
        {"a.csv": text("1,2,3", header=",".join(COLUMNS[:3]))},
        refused="expected column `petal_width`",
    ),
    Case(
        "a key that a line of JSON lacks",
        "one of two lines",
        {"a.jsonl": f'{line()}\n{{"sepal_length": 1}}\n'.encode()},
        1,
        {1: "the row: expected `sepal_width`, found no such key"},
    ),
    Case(
        "a name that two columns have",
        "one that the model reads",
        {"a.csv": text("1,2,3,4,5", header=f"{HEADER},petal_width")},
        refused="column `petal_width` once",
    ),
    Case(
        "a name that two columns have",
        "one that is kept",
        {"a.parquet": pa.Table.from_arrays([pa.array([1.0])] * 6, [*COLUMNS, "x", "x"])},
        refused="`x` once, which is to be kept",
        keep=("x",),
    ),
    Case(
        "two columns of one name that nobody reads",
        "Parquet",
        {"a.parquet": pa.Table.from_arrays([pa.array([1.0])] * 6, [*COLUMNS, "x", "x"])},
        1,
    ),
    Case(
        "two columns of one name that nobody reads",
        "CSV",
        {"a.csv": text("1,2,3,4,,", header=f"{HEADER},,")},
        1,
    ),
    Case(
        "a text where a number must be",
        "CSV",
        {"a.csv": text("x,2,3,4", "1_000,2,3,4", "0x10,2,3,4", "١,2,3,4", "1,2,3,4")},
        1,
        {0: f"{NUMBER} `x`", 1: f"{NUMBER} `1_000`", 2: f"{NUMBER} `0x10`", 3: f"{NUMBER} `١`"},
    ),
    Case(
        "a text where a number must be",
        "Parquet",
        {"a.parquet": first(["1", "2"])},
        0,
        {0: f"{FLOAT} a text", 1: f"{FLOAT} a text"},
    ),
    Case(
        "a text where a number must be",
        "JSON lines",
        {"a.jsonl": "\n".join(line(sepal_length=value) for value in ("1", True, [1])).encode()},
        0,
        {0: "found a string", 1: "found true", 2: "found a list"},
    ),
    *(
        Case(
            "a column of which no value fits: times, dates, bytes, structs, lists where a number must be",
            str(values.type),
            {"a.parquet": iris_table(sepal_length=values)},
            refused=f"expected `float32`, found `{values.type}`",
        )
        for values in (
            pa.array([0, 1, 2], pa.timestamp("us", "Asia/Seoul")),
            pa.array([0, 1, 2], pa.timestamp("ns")),
            pa.array([0, 1, 2], pa.date32()),
            pa.array([0, 1, 2], pa.time64("us")),
            pa.array([0, 1, 2], pa.duration("s")),
            pa.array([b"1", b"2", b"3"]),
            pa.array([True, False, True]),
            pa.array([{"x": 1}] * 3),
        )
    ),
    Case(
        "a column of which no value fits: times, dates, bytes, structs, lists where a number must be",
        "list",
        {"a.parquet": iris_table(sepal_length=pa.array([[1.0]] * 3))},
        refused="expected `float32`, found `list<",
    ),
    Case(
        "no value, or NaN, in a column that the golden samples show no gap in",
        "floats",
        {"a.parquet": first([1.0, None, float("nan")])},
        1,
        {1: f"{FLOAT} no value", 2: f"{FLOAT} NaN"},
    ),
    Case(
        "no value, or NaN, in a column that the golden samples show no gap in",
        "all null",
        {"a.parquet": iris_table(2, sepal_length=pa.nulls(2))},
        0,
        {0: f"{FLOAT} no value", 1: f"{FLOAT} no value"},
    ),
    Case(
        "no value, or NaN, in a column that the golden samples show no gap in",
        "CSV",
        {"a.csv": text("NA,2,3,4", ",2,3,4", "1,2,3,4")},
        1,
        {0: f"{FLOAT} no value", 1: f"{FLOAT} no value"},
    ),
    Case(
        "no value, or NaN, in a column that the golden samples show no gap in",
        "JSON lines",
        {"a.jsonl": f"{line(sepal_length=None)}\n{line()}\n".encode()},
        1,
        {0: "found null at `.sepal_length`"},
    ),
    Case(
        "no value, or NaN, in a column that the golden samples show no gap in",
        "whole numbers, texts, true and false",
        {
            "a.parquet": kinds(
                n=pa.array([None, 1, 1]), s=pa.array(["a", None, "b"]), b=pa.array([True, True, None])
            )
        },
        0,
        {
            0: "column `n`: expected `int64`, found no value",
            1: "column `s`: expected `string`, found no value",
            2: "column `b`: expected `bool`, found no value",
        },
        model="kinds",
    ),
    Case(
        "no value in a column that the golden samples show a gap in",
        "null, NaN and all null",
        {
            "a.parquet": kinds(d=pa.array([1.0, None, float("nan")])),
            "b.parquet": kinds(d=pa.nulls(3, pa.float64())),
        },
        6,
        model="kinds",
    ),
    Case(
        "a number that the type does not hold",
        "float32",
        {"a.parquet": first([1.0, 1e39, -1e39])},
        1,
        {1: f"{FLOAT} 1e+39, which is beyond float32,", 2: f"{FLOAT} -1e+39, which is beyond float32,"},
    ),
    Case(
        "a number that the type does not hold",
        "whole numbers in a float",
        {"a.parquet": first([1, 2**24 + 1, 2**60 + 1])},
        1,
        {1: f"{FLOAT} 16777217", 2: f"{FLOAT} {2**60 + 1}"},
    ),
    Case(
        "a number that the type does not hold",
        "int8 and int64",
        {"a.parquet": kinds(small=pa.array([1, 128, -129]), n=pa.array([2**63, 1, 1], pa.uint64()))},
        0,
        {0: str(2**63), 1: "expected `int8`, found 128", 2: "found -129"},
        model="kinds",
    ),
    Case(
        "a number that the type does not hold",
        "fractions of a whole number",
        {"a.parquet": kinds(n=pa.array([1.0, 1.5, 1e300]))},
        1,
        {1: "expected `int64`, found 1.5", 2: "expected `int64`, found 1e+300"},
        model="kinds",
    ),
    Case(
        "a number that the type does not hold",
        "CSV",
        {"a.csv": text("1e39,2,3,4", "1e400,2,3,4", "1,2,3,4")},
        1,
        {0: f"{FLOAT} 1e+39, which is beyond float32,", 1: f"{FLOAT} a number beyond float64"},
    ),
    Case(
        "decimals",
        "to floats and whole numbers",
        {
            "a.parquet": kinds(
                d=pa.array([Decimal("0.1"), None, Decimal("1e20")]),
                n=pa.array([Decimal(2**60 + 1), Decimal(5), Decimal(7)], pa.decimal128(38, 0)),
            )
        },
        3,
        model="kinds",
    ),
    Case(
        "a decimal with a fraction where a whole number must be",
        "one of three",
        {
            "a.parquet": kinds(
                n=pa.array([Decimal("5.5"), Decimal("5.0"), Decimal(2**40)], pa.decimal128(38, 1))
            )
        },
        2,
        {0: "column `n`: expected `int64`, found 5.5"},
        model="kinds",
    ),
    Case(
        "dictionaries, large texts, views, half floats",
        "of each kind",
        {
            "a.parquet": kinds(
                s=pa.array(["a", "b", "a"]).dictionary_encode(), f=pa.array([1.0, 2, 1]).dictionary_encode()
            ),
            "b.parquet": kinds(s=pa.array(["a", "b", "c"], pa.large_string())),
            "c.arrow": arrow(kinds(s=pa.array(["a", "b", "c"], pa.string_view()))),
            "d.parquet": kinds(f=pa.array([np.float16(1)] * 3)),
        },
        12,
        model="kinds",
    ),
    Case(
        "a text that is not UTF-8, or that no model can read",
        "Parquet",
        {"a.parquet": not_utf8("s"), "b.parquet": kinds(s=pa.array(["a", "b", "c\0d"]))},
        4,
        {1: "column `s`: expected a text in UTF-8, found other bytes", 2: "a string with a NUL"},
        model="kinds",
    ),
    Case(
        "a text that is not UTF-8, or that no model can read",
        "CSV in Latin-1",
        {"a.csv": text("1,2,3,4,größe", "1,2,3,4,a", header=f"{HEADER},t", encoding="latin-1")},
        1,
        {0: "column `t`: expected a text in UTF-8, found other bytes"},
        keep=("t",),
    ),
    Case(
        "a text that is not UTF-8, or that no model can read",
        "JSON in Latin-1",
        {"a.jsonl": (line()[:-1] + ', "t": "größe"}\n' + line()).encode("latin-1")},
        1,
        {0: "expected JSON, found"},
    ),
    Case(
        "lists that are the rows of a tensor",
        "lists, lists of one size, of whole numbers and of decimals",
        {
            "a.parquet": kinds(),
            "b.parquet": kinds(v=pa.array([[1.0, 2, 3]] * 3, pa.list_(pa.float64(), 3))),
            "c.parquet": kinds(v=pa.array([[1, 2, 3]] * 3, pa.large_list(pa.int64()))),
            "d.parquet": kinds(v=pa.array([[Decimal("1.5")] * 3] * 3)),
        },
        12,
        model="kinds",
    ),
    Case(
        "lists that are the rows of a tensor",
        "under the name of a tensor that has columns",
        {"a.parquet": pa.table({"X": pa.array([[1.0, 2, 3, 4]] * 5)}), "b.jsonl": b'{"X": [1, 2, 3, 4]}\n'},
        6,
    ),
    Case(
        "a list of another size, or with a gap, a text or a number that is too large",
        "one of each",
        {
            "a.parquet": kinds(v=pa.array([[1.0, 2.0], None, [1.0, None, 2.0]])),
            "b.parquet": kinds(v=pa.array([[1.0, 2, 3], [1e39, 1, 1], [float("nan"), 1, 1]])),
        },
        1,
        {0: "found 2 values", 1: "found", 2: "found"},
        model="kinds",
    ),
    Case(
        "a type that differs between files",
        "of a column that the model reads",
        {
            "a.parquet": iris_table(),
            "b.parquet": iris_table(sepal_length=pa.array([1, 2, 3])),
            "c.parquet": iris_table().select(COLUMNS[::-1]),
            "d.csv": text("1,2,3,4"),
        },
        10,
    ),
    Case(
        "a type that differs between files, of a column that is kept",
        "text and number",
        {"a.parquet": iris_table(t=pa.array(["a"] * 3)), "b.parquet": iris_table(t=pa.array([1] * 3))},
        refused="expected `string` as in input `a.parquet`, found `int64`",
        keep=("t",),
    ),
    Case(
        "keys, and kinds of values, that change between lines of JSON",
        "order, more of them, numbers of two kinds",
        {"a.jsonl": "\n".join([line(), line(more=5), json.dumps(dict.fromkeys(COLUMNS[::-1], 2))]).encode()},
        3,
    ),
    Case(
        "quotes, line breaks in quotes, a byte order mark, CRLF or CR, blanks in the header, empty lines",
        "CSV",
        {
            "a.csv": b"\xef\xbb\xbf"
            + text('1,2,3,4,"x\r\n""y"""', '"1","2","3","4",5" pipe', header=f"{HEADER},t", end="\r\n"),
            "b.csv": text("1,2,3,4,a", "5,6,7,8,b", header=f"{HEADER},t", end="\r"),
            "c.csv": text(
                "", "1, 2, 3, 4, a", "", "", "5,6,7,8,b", header="\n\n" + ", ".join([*COLUMNS, "t"])
            ),
        },
        6,
        keep=("t",),
    ),
    Case(
        "semicolons or tabs between cells",
        "CSV",
        {
            "a.csv": text("1;2;3;4", header=HEADER.replace(",", ";")),
            "b.csv": text("1\t2\t3\t4", header=HEADER.replace(",", "\t")),
            "c.tsv": text("1\t2\t3\t4", header=HEADER.replace(",", "\t")),
        },
        3,
    ),
    Case(
        "decimal commas",
        "CSV",
        {"a.csv": text("1,5;2;3;4", "1.5;2;3;4", header=HEADER.replace(",", ";"))},
        1,
        {0: f"{NUMBER} `1,5`"},
    ),
    Case(
        "a line with too few or too many cells",
        "CSV",
        {"a.csv": text("1,2,3", "1,2,3,4", "", "1,2,3,4,5")},
        1,
        {0: "expected 4 cells, found 3", 2: "expected 4 cells, found 5"},
    ),
    Case(
        "half a line of JSON, or a line that is no object",
        "JSON lines",
        {"a.jsonl": "\n".join([line(), "[1]", "null", "", "[" * 100_000, line()[:30]]).encode()},
        1,
        {1: "expected an object", 2: "expected an object", 3: "too many levels", 4: "expected JSON, found"},
    ),
    Case("gzip", "CSV, in two members", {"a.csv.gz": PACKED + gzip.compress(b"5,6,7,8\n")}, 5001),
    Case(
        "gzip", "JSON lines with a mark", {"a.jsonl.gz": gzip.compress(b"\xef\xbb\xbf" + line().encode())}, 1
    ),
    Case(
        "a file of 0 bytes, or without rows",
        "of each form",
        {
            "a.csv": b"",
            "b.jsonl": b"\n\n",
            "c.csv.gz": gzip.compress(b""),
            "d.csv": HEADER.encode(),
            "e.parquet": iris_table(0),
            "f.jsonl.gz": b"",
        },
        0,
    ),
    Case(
        "0 bytes that should be Parquet or Arrow",
        "Parquet",
        {"a.parquet": b""},
        refused="a whole parquet file",
    ),
    Case("0 bytes that should be Parquet or Arrow", "Arrow", {"a.arrow": b""}, refused="a whole arrow file"),
    Case(
        "a file that is not what its name says",
        "gzip as CSV",
        {"a.csv": PACKED},
        refused="found a gzip file, whose name would end in `.gz`",
    ),
    Case(
        "a file that is not what its name says", "CSV as gzip", {"a.csv.gz": text("1,2,3,4")}, refused="gzip"
    ),
    Case(
        "a file that is not what its name says", "Parquet as JSON", {"a.jsonl": BIG}, refused="a Parquet file"
    ),
    Case(
        "a file that is not what its name says",
        "CSV as Parquet",
        {"a.parquet": text("1,2,3,4")},
        refused="footer",
    ),
    Case(
        "a file that is not what its name says",
        "a spreadsheet",
        {"a.csv": b"PK\x03\x04" + b"x" * 99},
        refused="ZIP",
    ),
    Case(
        "UTF-16, or a header in Latin-1",
        "UTF-16",
        {"a.csv": text("1,2,3,4", encoding="utf-16")},
        refused="UTF-16",
    ),
    Case(
        "UTF-16, or a header in Latin-1", "no mark", {"a.jsonl": line().encode("utf-16-le")}, refused="UTF-16"
    ),
    Case(
        "UTF-16, or a header in Latin-1",
        "Latin-1",
        {"a.csv": text("1,2,3,4,5", header=f"{HEADER},größe", encoding="latin-1")},
        refused="a first line that is not UTF-8",
    ),
    Case(
        "a file that breaks off or is broken",
        "footer",
        {"a.parquet": BIG[:-10]},
        refused="a whole parquet file",
    ),
    Case(
        "a file that breaks off or is broken",
        "half",
        {"a.parquet": BIG[: len(BIG) // 2]},
        refused="a whole parquet",
    ),
    Case(
        "a file that breaks off or is broken",
        "a page, by its checksum",
        {"a.parquet": flipped(BIG, len(BIG) // 2)},
        refused="a whole parquet file",
    ),
    Case(
        "a file that breaks off or is broken",
        "gzip, cut",
        {"a.csv.gz": PACKED[:-20]},
        refused="a whole csv file",
    ),
    Case(
        "a file that breaks off or is broken",
        "gzip, changed",
        {"a.jsonl.gz": flipped(gzip.compress(b"\n".join([line().encode()] * 5000)), 60)},
        refused="a whole jsonl file",
    ),
    Case(
        "a file that breaks off or is broken",
        "Arrow, with lengths that point elsewhere",
        {"a.arrow": WRONG_LENGTHS},
        refused="a whole arrow file",
        model="kinds",
    ),
    Case(
        "a quote that nobody closed",
        "in the middle",
        {"a.csv": text("1,2,3,4", '1,2,3,"4', *["5,6,7,8"] * 1000)},
        refused="a quote that nobody closed",
    ),
    Case(
        "a quote that nobody closed",
        "in the header",
        {"a.csv": text("1,2,3,4", header=f'"{HEADER}')},
        refused="first line",
    ),
    Case(
        "a row of CSV above 16 MiB",
        "a cell",
        {"a.csv": text("1,2,3,4," + "x" * 17_000_000, "1,2,3,4,y", header=f"{HEADER},t")},
        refused="a row of more than 8 MiB",
        keep=("t",),
    ),
    Case(
        "texts of megabytes elsewhere",
        "Parquet and JSON lines",
        {
            "a.parquet": iris_table(t=pa.array(["x", "y" * 9_000_000, "z"])),
            "b.jsonl": f"{line(t='y' * 9_000_000)}\n{line(t='z')}".encode(),
        },
        5,
        keep=("t",),
    ),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Bundle]:
    from onnx import helper

    folder = tmp_path_factory.mktemp("models")
    outputs = tuple(msgspec.structs.replace(tensor, name=f"{tensor.name}_out") for tensor in KINDS)
    nodes = [helper.make_node("Identity", [each.name], [f"{each.name}_out"]) for each in KINDS]
    inputs = {
        "f": np.array([0.5, 1], np.float32),
        "d": np.array([0.5, np.nan]),
        "n": np.array([1, 2]),
        "small": np.array([1, 2], np.int8),
        "b": np.array([True, False]),
        "s": np.array(["a", "b"], object),
        "v": np.ones((2, 3), np.float32),
    }
    model = model_of(nodes, KINDS, outputs)
    kinds_bundle = bundle_of(folder / "kinds", "kinds", model, Signature(KINDS, outputs), inputs)
    return {"iris": linear_bundle(folder / "iris"), "kinds": kinds_bundle}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.row}: {case.name}")
def test_each_row_is_scored_or_set_aside_or_the_run_is_refused(tmp_path, models, case):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name, content in case.files.items():
        if isinstance(content, bytes):
            (data / name).write_bytes(content)
        else:
            pyarrow.parquet.write_table(content, data / name)
    options = Options(processes=1, keep=case.keep)
    if case.refused:
        with pytest.raises(InputError, match=re.escape(case.refused)) as caught:
            run_batch(models[case.model], [data], out, options)
        assert any(f"input `{name}`" in caught.value.where for name in case.files)
        # Nothing half: no part, no manifest.
        assert not list(out.glob("[!.]*"))
        return
    run = run_batch(models[case.model], [data], out, options)
    rejected = aside(out)
    reasons = {row["row"]: row["reason"] for row in rejected}
    for at, reason in case.aside.items():
        assert reason in reasons[at]
    assert reasons.keys() == case.aside.keys()
    assert all(row["content"] for row in rejected)
    assert run.manifest.scored == case.scored
    assert run.manifest.rows == case.scored + len(rejected)
    assert check_output(out).manifest == run.manifest
    if case.scored:
        assert len(pa.concat_tables([scored(out)]).column("row")) == case.scored


def test_the_table_in_the_guide_says_what_the_cases_show():
    written = dict(
        re.findall(r"^\| ([^|]+?) \| (scored|set aside|refused) \|$", GUIDE.read_text("utf-8"), re.MULTILINE)
    )
    tested: dict[str, set[str]] = {}
    for case in CASES:
        tested.setdefault(case.row, set()).add(case.outcome)
    assert {row: {outcome} for row, outcome in written.items()} == tested


def test_values_come_through_exactly(tmp_path, models):
    """Decimals, long whole numbers in CSV beside others, and lists keep every digit."""
    large = [2**60 + 1, -(2**63), 2**63 - 1]
    pyarrow.parquet.write_table(
        kinds(n=pa.array([Decimal(value) for value in large], pa.decimal128(38, 0))), tmp_path / "a.parquet"
    )
    rows = [f'1,,{value},1,true,x,"[1]"' for value in [*large, "5.0", "1e3"]]
    echo = models["kinds"]
    run_batch(echo, [tmp_path / "a.parquet"], tmp_path / "out", Options(processes=1))
    assert scored(tmp_path / "out")["n_out"].to_pylist() == large
    signature = Signature(KINDS[:6], ())
    (tmp_path / "b.csv").write_text("\n".join(["f,d,n,small,b,s,v", *rows, '1,,,1,true,x,""']))
    table = open_table(find_inputs([tmp_path / "b.csv"]).files[0])
    names = [tensor.name for tensor in signature.inputs]
    fittings = [Caster(signature).cast(rows) for rows in table.read(Span(0, None, 0, None), names)]
    assert [value for each in fittings for value in each.inputs["n"].tolist()] == [*large, 5, 1000]
    assert [row.row for each in fittings for row in each.rejected] == [5]


@pytest.mark.slow
@pytest.mark.wide
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_hundred_thousand_columns_are_scored(tmp_path, form):
    names = tuple(f"c{at}" for at in range(100_000))
    inputs = (Tensor(name="X", dtype="float32", shape=("batch", len(names)), columns=names),)
    signature = Signature(inputs, linear_bundle(tmp_path / "small").manifest.signature.outputs)
    bundle = linear_bundle(tmp_path / "wide", features=len(names), rows=2, signature=signature)
    values = np.random.default_rng(0).uniform(0, 1, (9, len(names))).astype(np.float32)
    path = tmp_path / f"rows.{form}"
    if form == "csv":
        path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in values.tolist())]))
    else:
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in values.tolist()))
    run_batch(bundle, [path], tmp_path / "out", Options(processes=1))
    pyarrow.parquet.write_table(pa.table({"X": pa.array(list(values))}), tmp_path / "lists.parquet")
    run_batch(bundle, [tmp_path / "lists.parquet"], tmp_path / "lists", Options(processes=1))
    assert scored(tmp_path / "out").equals(scored(tmp_path / "lists"))


def test_what_is_looked_at_together_has_a_bound_whatever_the_columns():
    for columns in (1, 30, 1000, 100_000):
        assert batch_rows(columns) * columns <= 4 * 2**20


def test_names_of_files_may_hold_anything_but_bytes_that_are_no_text(tmp_path, models):
    data = tmp_path / "data"
    data.mkdir()
    pyarrow.parquet.write_table(iris_table(), data / "a\nb\"'`;$(x).parquet")
    run = run_batch(models["iris"], [data], tmp_path / "out", Options(processes=1))
    assert [file.name for file in run.manifest.inputs] == ["a\nb\"'`;$(x).parquet"]
    Path(os.fsdecode(os.fsencode(data) + b"/\xff.csv")).write_bytes(text("1,2,3,4"))
    with pytest.raises(UsageError, match="a name in UTF-8"):
        run_batch(models["iris"], [data], tmp_path / "other", Options(processes=1))
    assert not (tmp_path / "other").exists()


def test_links_are_followed_once_and_one_that_leads_nowhere_is_refused(tmp_path, models):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    pyarrow.parquet.write_table(iris_table(), elsewhere / "a.parquet")
    (data / "again").symlink_to(data)
    (data / "linked").symlink_to(elsewhere)
    (data / "z.parquet").symlink_to(elsewhere / "a.parquet")
    os.mkfifo(data / "pipe.csv")
    run = run_batch(models["iris"], [data], tmp_path / "out", Options(processes=1))
    assert [(file.name, file.rows) for file in run.manifest.inputs] == [("linked/a.parquet", 3)]
    assert run.left_out == ("pipe.csv",)
    for name, target, reason in (("y.csv", "nothing.csv", "a link to nothing"), ("x.csv", "x.csv", "link")):
        (data / name).symlink_to(target)
        with pytest.raises(UsageError, match=reason):
            run_batch(models["iris"], [data], tmp_path / "other", Options(processes=1))
    with pytest.raises(UsageError, match="another thing"):
        run_batch(models["iris"], [data / "pipe.csv"], tmp_path / "other", Options(processes=1))


UNREADABLE = """
import os, sys
from pathlib import Path
from lading.batch.inputs import find_inputs
from lading.errors import UsageError
os.setuid(65534)
for path in sys.argv[1:]:
    try:
        find_inputs([Path(path)])
    except UsageError as error:
        print(error.message)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="needs a user who can become another")
def test_what_may_not_be_read_is_refused_and_never_left_out():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data/secret").mkdir(parents=True)
        (folder / "data/secret").chmod(0o700)
        (folder / "a.csv").write_bytes(text("1,2,3,4"))
        (folder / "a.csv").chmod(0o600)
        ended = subprocess.run(
            [sys.executable, "-c", UNREADABLE, str(folder / "a.csv"), str(folder / "data")],
            capture_output=True,
            text=True,
            check=True,
        )
    first_line, second = ended.stdout.splitlines()
    assert first_line.endswith("expected a file that can be read, found Permission denied")
    assert second.endswith("expected a folder that can be read, found Permission denied")
