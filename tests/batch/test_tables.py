"""Every form of file gives the same rows, and one that is broken gives none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from lading.batch.checking import check_output
from lading.batch.run import Options, run_batch
from lading.errors import (
    BodyInvalid,
)
from support.batch_runs import COLUMNS, HERE, aside, scored


@pytest.mark.parametrize("form", ["csv", "csv.gz", "semicolons", "jsonl", "jsonl.gz", "arrow", "stream"])
def test_the_same_rows_get_the_same_answers_in_every_form(tmp_path, iris, table, form):
    rows = table(700)
    path = _written(tmp_path, rows, form)
    run_batch(iris, [path], tmp_path / "out", Options(processes=1))
    pyarrow.parquet.write_table(rows, tmp_path / "rows.parquet")
    run_batch(iris, [tmp_path / "rows.parquet"], tmp_path / "expected", Options(processes=1))
    assert scored(tmp_path / "out").equals(scored(tmp_path / "expected"))


def _written(folder: Path, rows: pa.Table, form: str) -> Path:
    if form in ("arrow", "stream"):
        path = folder / "rows.arrow"
        kind = pa.ipc.new_file if form == "arrow" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as file, kind(file, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=100)
        return path
    if form.startswith("jsonl"):
        data = "".join(json.dumps(row) + "\n" for row in rows.to_pylist()).encode()
    else:
        mark = ";" if form == "semicolons" else ","
        lines = [mark.join(rows.column_names), *(mark.join(map(str, r.values())) for r in rows.to_pylist())]
        # As Windows writes it, and with the mark that spreadsheets put in front.
        data = (
            b"\xef\xbb\xbf" + "\r\n".join(lines).encode()
            if form == "semicolons"
            else "\n".join(lines).encode()
        )
    path = folder / f"rows.{form if form != 'semicolons' else 'csv'}"
    path.write_bytes(gzip.compress(data) if form.endswith(".gz") else data)
    return path


def test_lines_that_are_no_rows_are_set_aside(tmp_path, iris):
    good = dict.fromkeys(COLUMNS, 1.0)
    lines = [
        json.dumps(good),
        "{",
        "[1, 2]",
        json.dumps({**good, "sepal_width": "x"}),
        "{}",
        json.dumps(good),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    run_batch(iris, [path], tmp_path / "out", Options(processes=1))
    assert scored(tmp_path / "out")["row"].to_pylist() == [0, 5]
    assert [row["row"] for row in aside(tmp_path / "out")] == [1, 2, 3, 4]
    reasons = [row["reason"] for row in aside(tmp_path / "out")]
    assert "JSON" in reasons[0]
    assert "object" in reasons[1]
    assert "`sepal_width`" in reasons[3] or "sepal_width" in reasons[2]


def test_files_without_rows_are_inputs_all_the_same(tmp_path, iris, parquet):
    parquet("days/a.parquet", 0)
    parquet("days/b.parquet", 3)
    (tmp_path / "days/c.csv").write_text("")
    (tmp_path / "days/d.csv").write_text(",".join([*COLUMNS, "customer"]) + "\n")
    (tmp_path / "days/e.jsonl").write_text("")
    run = run_batch(iris, [tmp_path / "days"], tmp_path / "out", Options(processes=1))
    assert [(file.name, file.rows) for file in run.manifest.inputs] == [
        ("a.parquet", 0),
        ("b.parquet", 3),
        ("c.csv", 0),
        ("d.csv", 0),
        ("e.jsonl", 0),
    ]
    assert check_output(tmp_path / "out").manifest.rows == 3


@pytest.mark.parametrize("broken", ["head", "middle", "end"])
def test_a_broken_file_publishes_nothing(tmp_path, iris, parquet, broken):
    path = parquet("rows.parquet", 50_000)
    data = bytearray(path.read_bytes())
    at = {"head": 0, "middle": len(data) // 2, "end": len(data) - 6}[broken]
    data[at : at + 6] = b"\xff" * 6
    path.write_bytes(data)
    with pytest.raises(BodyInvalid, match=r"rows\.parquet"):
        run_batch(iris, [path], tmp_path / "out", HERE)
    assert not list((tmp_path / "out").glob("part-*"))
    assert not (tmp_path / "out/manifest.json").exists()
