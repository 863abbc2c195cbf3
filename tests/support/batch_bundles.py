"""Twelve bundles that differ in what goes in and out, each with a file of rows of which some do not fit.

Engines of batch runs are held to one another by them: each must write the same bytes for all twelve.
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from lading.signature import Signature, Tensor
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.echo_models import sum_bundle
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.small_models import echo, people

if TYPE_CHECKING:
    from lading.bundle import Bundle

ROWS = 700
"""More than three groups of rows, so that there are parts to share among processes; one in fifty is bad."""

GROUP_ROWS = 200
BAD = slice(7, None, 50)
FACTS: dict[str, Any] = {"owner": "tests@example.com", "description": ""}


@dataclass(frozen=True)
class BatchCase:
    """A bundle and a file for it, columns to `keep`, and what of its own the bundle may run."""

    bundle: Bundle
    source: Path
    keep: tuple[str, ...] = ()
    allow: str = "none"


def write_rows(path: Path, columns: dict[str, Any]) -> Path:
    """Write columns as a Parquet file with groups of `GROUP_ROWS` rows."""
    pa.parquet.write_table(pa.table(columns), path, row_group_size=GROUP_ROWS)
    return path


def with_bad(values: Any, bad: Any = None) -> list[Any]:
    """Return values as a list in which every fiftieth is `bad`."""
    listed = list(values.tolist() if isinstance(values, np.ndarray) else values)
    for at in range(len(listed))[BAD]:
        listed[at] = bad
    return listed


def _draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def floats(folder: Path) -> BatchCase:
    """Four floats, a class and its probabilities; values that are missing, NaN, or beyond float32."""
    values = np.abs(_draw(ROWS, 4).astype(np.float64))
    columns: dict[str, Any] = {name: values[:, at] for at, name in enumerate(IRIS_COLUMNS)}
    columns["petal_width"] = with_bad(columns["petal_width"])
    columns["petal_length"][11::50] = np.nan
    columns["sepal_width"][13::50] = 1e300
    source = write_rows(folder / "rows.parquet", {**columns, "customer": np.arange(ROWS)})
    return BatchCase(linear_bundle(folder / "bundle"), source, ("customer",))


def network(folder: Path) -> BatchCase:
    """Three layers over 30 floats, whose last bits depend on how many rows run together."""
    sizes = (30, 96, 64, 1)
    nodes, constants, name = [], {}, "X"
    for at, (width, after) in enumerate(itertools.pairwise(sizes)):
        constants |= {f"W{at}": _draw(width, after), f"b{at}": _draw(after)}
        nodes += [node("MatMul", f"{name} W{at}", f"m{at}"), node("Add", f"m{at} b{at}", f"a{at}")]
        name = "Y" if at == 2 else f"t{at}"
        nodes.append(node("Tanh", f"a{at}", name))
    columns = tuple(f"f{at}" for at in range(30))
    inputs = (Tensor(name="X", dtype="float32", shape=("batch", 30), columns=columns),)
    outputs = (tensor("Y", "float32", "batch", 1),)
    model = graph(nodes, inputs, outputs, constants=constants)
    bundle = bundle_of(folder / "bundle", model, Signature(inputs, outputs), {"X": _draw(8, 30)}, name="net")
    rows = _draw(20 * ROWS, 30)
    table: dict[str, Any] = {name: rows[:, at] for at, name in enumerate(columns)}
    table["f3"] = with_bad(table["f3"])
    path = folder / "rows.parquet"
    pa.parquet.write_table(pa.table(table), path, row_group_size=20 * GROUP_ROWS)
    return BatchCase(bundle, path)


def missing_values(folder: Path) -> BatchCase:
    """Trees over float64 that were trained with gaps, and a profile; what is far too large is bad."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingRegressor

    import lading

    values = np.random.default_rng(1).normal(size=(ROWS, 3))
    values[::3, 1] = np.nan
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    model = HistGradientBoostingRegressor(max_iter=15, random_state=0).fit(frame, np.nan_to_num(values)[:, 0])
    facts = {**FACTS, "name": "gaps", "purpose": "regression", "reference": frame}
    bundle = lading.pack(model, samples=frame[:40], to=folder / "bundle", **facts)
    table = {name: frame[name].to_numpy() for name in frame}
    table["c"] = with_bad(table["c"], 1e300)
    return BatchCase(bundle, write_rows(folder / "rows.parquet", table))


def mixed_columns(folder: Path) -> BatchCase:
    """Texts, whole numbers and floats, as semicolons part them in a CSV file; the answers are texts."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    import lading

    draw = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "city": draw.choice(["Seoul", "Busan", "제주, 서귀포"], ROWS),
            "age": draw.integers(18, 80, ROWS),
            "income": draw.normal(3, 1, ROWS),
        }
    )
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), (StandardScaler(), ["age", "income"])
    )
    target = np.where((frame.income > 3) & (frame.city != "Busan"), "yes", "no")
    model = make_pipeline(columns, LogisticRegression()).fit(frame, target)
    facts = {**FACTS, "name": "mixed", "purpose": "classification", "reference": frame}
    bundle = lading.pack(model, samples=frame[:50], to=folder / "bundle", **facts)
    written = frame.assign(age=pd.Series(with_bad(frame["age"].tolist(), "forty"), dtype=object))
    written.to_csv(folder / "rows.csv", index=False, sep=";")
    return BatchCase(bundle, folder / "rows.csv", ("city",))


def texts(folder: Path) -> BatchCase:
    """A number and a text in, both out again, from JSON lines that are gzipped."""
    ages = with_bad(np.arange(ROWS) / 4, "old")
    cities = ["서울", "", "line\nbreak", 'a "quote"']
    rows = [{"age": age, "city": cities[at % 4], "at": at} for at, age in enumerate(ages)]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    return BatchCase(people(folder / "bundle"), folder / "rows.jsonl.gz", ("at",))


def several_outputs(folder: Path) -> BatchCase:
    """Two inputs of two floats, and two outputs: columns of lists."""
    first, second = _draw(ROWS, 2).tolist(), _draw(ROWS, 2).tolist()
    table = {"a": with_bad(first, [1.0]), "b": second}
    return BatchCase(sum_bundle(folder / "bundle"), write_rows(folder / "rows.parquet", table))


def whole_numbers(folder: Path) -> BatchCase:
    """int64, beyond what a float64 holds exactly, in an Arrow file."""
    numbers = with_bad(2**62 + np.arange(ROWS), None)
    path = folder / "rows.arrow"
    pa.feather.write_feather(pa.table({"x": numbers}), path, compression="uncompressed", chunksize=GROUP_ROWS)
    return BatchCase(echo(folder / "bundle", "whole", "int64"), path)


def truths(folder: Path) -> BatchCase:
    """True and false, of which some are missing."""
    table = {"x": pa.array(with_bad(np.arange(ROWS) % 3 == 0), pa.bool_())}
    return BatchCase(echo(folder / "bundle", "truths", "bool"), write_rows(folder / "rows.parquet", table))


def half_floats(folder: Path) -> BatchCase:
    """float16, which the output holds as float32; what float16 does not hold is bad."""
    table = {"x": with_bad(np.arange(ROWS, dtype=np.float64) / 8, 1e6)}
    return BatchCase(echo(folder / "bundle", "half", "float16"), write_rows(folder / "rows.parquet", table))


def images(folder: Path) -> BatchCase:
    """Pictures of 3 × 8 × 8 bytes through a convolution; some have a value that is no byte."""
    inputs = (tensor("image", "uint8", "batch", 3, 8, 8),)
    outputs = (tensor("score", "float32", "batch", 5),)
    nodes = [
        node("Cast", "image", "f", to=1),
        node("Conv", "f W", "c", kernel_shape=[3, 3]),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "flat"),
        node("Gemm", "flat G", "score", transB=1),
    ]
    model = graph(nodes, inputs, outputs, constants={"W": _draw(16, 3, 3, 3), "G": _draw(5, 16)})
    pictures = np.random.default_rng(3).integers(0, 256, (ROWS, 3, 8, 8))
    rows = {"image": pictures[:4].astype(np.uint8)}
    bundle = bundle_of(folder / "bundle", model, Signature(inputs, outputs), rows, name="images")
    listed = pictures.tolist()
    for at in range(ROWS)[BAD]:
        listed[at][0][0][0] = 256
    return BatchCase(bundle, write_rows(folder / "rows.parquet", {"image": listed}))


def sequences(folder: Path) -> BatchCase:
    """Five steps of three floats in, five of two out: lists of lists, some of which are too short."""
    inputs = (tensor("steps", "float32", "batch", 5, 3),)
    outputs = (tensor("states", "float32", "batch", 5, 2), tensor("last", "float32", "batch"))
    nodes = [
        node("MatMul", "steps W", "product"),
        node("Tanh", "product", "states"),
        node("ReduceSum", "states axes", "last", keepdims=0),
    ]
    constants = {"W": _draw(3, 2), "axes": np.array([1, 2])}
    model = graph(nodes, inputs, outputs, constants=constants)
    rows = {"steps": _draw(4, 5, 3)}
    bundle = bundle_of(folder / "bundle", model, Signature(inputs, outputs), rows, name="sequences")
    table = {"steps": with_bad(_draw(ROWS, 5, 3), [[0.0, 0.0, 0.0]]), "id": np.arange(ROWS)}
    return BatchCase(bundle, write_rows(folder / "rows.parquet", table), ("id",))


CODE = """import numpy as np


def predict(X):
    return (X * np.array([1.0, 2.0, -3.0])).sum(axis=1)
"""


def own_code(folder: Path) -> BatchCase:
    """A function in Python, which runs in an environment of its own."""
    import lading

    path = folder / "weighted_sum.py"
    path.write_text(CODE)
    # What is packed is a module of a project: it has a name, and its source can be read.
    spec = importlib.util.spec_from_file_location("weighted_sum", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["weighted_sum"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        rows = np.random.default_rng(4).normal(size=(ROWS, 3))
        facts = {**FACTS, "name": "weighted", "purpose": "regression"}
        bundle = lading.pack(module.predict, samples=rows[:20], to=folder / "bundle", **facts)
    finally:
        del sys.modules["weighted_sum"]
    name = bundle.manifest.signature.inputs[0].name
    table = {name: with_bad(rows, [1.0, 2.0])}
    return BatchCase(bundle, write_rows(folder / "rows.parquet", table), allow="code")


CASES: dict[str, Callable[[Path], BatchCase]] = {
    make.__name__: make
    for make in (
        floats, network, missing_values, mixed_columns, texts, several_outputs, whole_numbers, truths,
        half_floats, images, sequences, own_code,
    )
}  # fmt: skip
"""What makes each case, in an empty folder of its own, by its name."""


def all_cases(folder: Path) -> Iterator[tuple[str, BatchCase]]:
    """Make all cases, one after the other, below `folder`."""
    for name, make in CASES.items():
        (folder / name).mkdir(parents=True)
        yield name, make(folder / name)
