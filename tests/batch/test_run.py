"""Whole runs: every row once, in its order, with the bits that the model gives; nothing half."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from lading.batch import plan as planning
from lading.batch.run import Options, run_batch
from lading.errors import (
    BatchChanged,
    DestinationExists,
    GateNotMet,
    InputMissing,
    NotSupported,
    ShapeRefused,
    UsageError,
    ValueRefused,
)
from support.batch_runs import COLUMNS, HERE, answers, scored


def test_each_row_is_scored_once_in_its_order(tmp_path, iris, table, parquet, monkeypatch):
    monkeypatch.setattr(planning, "PART_ROWS", 2500)
    rows = table(10_000)
    run = run_batch(iris, [parquet("rows.parquet", 10_000)], tmp_path / "out", HERE)
    out = scored(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("part-*"))) == 4
    assert (run.manifest.rows, run.manifest.scored, run.manifest.rejected) == (10_000, 10_000, 0)
    assert out["row"].to_pylist() == out["customer"].to_pylist() == list(range(10_000))
    assert (out["label"].to_numpy() == answers(iris, rows)).all()


def test_too_many_rows_aside_publish_nothing(tmp_path, iris, table):
    rows = table(100).to_pydict()
    rows["petal_width"][:10] = [None] * 10
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "rows.parquet")
    with pytest.raises(GateNotMet, match=r"found 10 of 100"):
        run_batch(
            iris, [tmp_path / "rows.parquet"], tmp_path / "out", Options(processes=1, max_rejected=0.09)
        )
    assert not (tmp_path / "out/manifest.json").exists()
    done = run_batch(
        iris, [tmp_path / "rows.parquet"], tmp_path / "out", Options(processes=1, max_rejected=0.1)
    )
    assert done.manifest.rejected == 10


def test_a_name_of_the_output_cannot_be_kept(tmp_path, iris, parquet):
    with pytest.raises(UsageError, match="`label`"):
        run_batch(iris, [parquet("rows.parquet", 3)], tmp_path / "out", Options(keep=("label",)))


def test_a_model_whose_rows_depend_on_each_other_is_refused(tmp_path, iris, parquet):
    signature = msgspec.structs.replace(iris.manifest.signature, independent_rows=False)
    manifest = msgspec.structs.replace(iris.manifest, signature=signature)

    class Other:
        """The bundle with a signature that says so; nothing else of it is reached."""

        digest = iris.digest

    Other.manifest = manifest
    with pytest.raises(NotSupported, match="independent"):
        run_batch(Other, [parquet("rows.parquet", 3)], tmp_path / "out")


def test_a_finished_run_is_left_as_it_is(tmp_path, iris, parquet):
    path = parquet("rows.parquet", 3000)
    run_batch(iris, [path], tmp_path / "out", HERE)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").glob("*") if p.is_file()}
    again = run_batch(iris, [path], tmp_path / "out", HERE)
    after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in (tmp_path / "out").glob("*") if p.is_file()}
    assert before == after
    assert (again.seconds, again.resumed) == (0.0, 1)


def test_another_run_does_not_go_on_with_what_was_begun(tmp_path, iris, parquet):
    path = parquet("rows.parquet", 3000)
    run_batch(iris, [path], tmp_path / "out", HERE)
    with pytest.raises(BatchChanged, match="--keep"):
        run_batch(iris, [path], tmp_path / "out", Options(processes=1))
    parquet("rows.parquet", 3000, seed=9)
    with pytest.raises(BatchChanged, match=r"`rows\.parquet` changed"):
        run_batch(iris, [path], tmp_path / "out", HERE)


def test_a_folder_of_something_else_is_left_alone(tmp_path, iris, parquet):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("precious")
    with pytest.raises(DestinationExists, match=r"mine\.txt"):
        run_batch(iris, [parquet("rows.parquet", 3)], tmp_path / "out", HERE)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def _dates(table: pa.Table) -> pa.Table:
    return table.set_column(0, COLUMNS[0], pa.array([0] * len(table), pa.timestamp("us", "UTC")))


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        (lambda table: table.drop_columns(["petal_width"]), InputMissing, "column `petal_width`"),
        (_dates, ValueRefused, "timestamp"),
        (lambda table: table.append_column(COLUMNS[0], table[COLUMNS[0]]), ShapeRefused, "several times"),
        (lambda table: table.drop_columns(["customer"]), InputMissing, "which is to be kept"),
    ],
)
def test_a_file_that_no_row_can_fit_is_refused_before_the_first_row(
    tmp_path, iris, table, parquet, change, error, word
):
    parquet("days/a.parquet", 100)
    pyarrow.parquet.write_table(change(table(10)), tmp_path / "days/b.parquet")
    with pytest.raises(error, match=r"b\.parquet") as caught:
        run_batch(iris, [tmp_path / "days"], tmp_path / "out", HERE)
    assert word in str(caught.value)
    assert not (tmp_path / "out").exists()
