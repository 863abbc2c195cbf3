"""One range of a file scored into one part, with what did not fit beside it."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.batch.inputs import find_inputs
from lading.batch.plan import make_plan
from lading.batch.scoring import REJECTED, ROW, Scorer
from lading.batch.spool import Spool
from lading.batch.survey import look_at
from lading.errors import BodyInvalid


@pytest.fixture
def scored(iris, tmp_path):
    def score(path, keep=()):
        inputs, spool = find_inputs([path]), Spool()
        files, spans = look_at(inputs.files, spool, lambda _: None)
        spool.close()
        name, signature = iris.manifest.name, iris.manifest.signature
        plan = make_plan(files, iris.digest, name, signature, keep, spans=spans)
        scorer = Scorer(iris, plan)
        try:
            return [scorer.score(task, tmp_path / "out") for task in plan.tasks]
        finally:
            scorer.close()

    return score


def test_a_part_has_the_numbers_of_its_rows_and_what_is_kept_before_the_answers(scored, parquet, tmp_path):
    (done,) = scored(parquet("rows.parquet", 100), ("customer",))
    assert (done.rows, done.scored, done.rejected, done.aside) == (100, 100, 0, None)
    part = pyarrow.parquet.read_table(tmp_path / "out" / done.output.name)
    assert part.column_names[:2] == [ROW, "customer"]
    assert len(part.column_names) > 2
    assert part[ROW].to_pylist() == part["customer"].to_pylist() == list(range(100))


def test_rows_that_do_not_fit_are_beside_the_part_and_of_one_reason_whatever_they_hold(
    scored, table, tmp_path
):
    rows = table(10)
    texts = [str(value) for value in rows["sepal_width"].to_pylist()]
    texts[3], texts[7] = "wide", "narrow"
    rows = rows.set_column(rows.column_names.index("sepal_width"), "sepal_width", pa.array(texts))
    path = tmp_path / "rows.csv"
    pa.csv.write_csv(rows, path)
    (done,) = scored(path)
    assert (done.rows, done.scored, done.rejected) == (10, 8, 2)
    aside = pyarrow.parquet.read_table(tmp_path / "out" / done.aside.name)
    assert aside.schema == REJECTED
    assert aside[ROW].to_pylist() == [3, 7]
    assert [count for _, count in done.reasons] == [2]


def test_the_part_before_a_broken_file_is_whole_and_reported(iris, parquet, tmp_path):
    parquet("in/a.parquet", 100)
    broken = parquet("in/b.parquet", 1000)
    data = bytearray(broken.read_bytes())
    data[100:200] = bytes(100)  # In a page; what the plan reads of a file is at its end.
    broken.write_bytes(data)
    inputs, spool = find_inputs([tmp_path / "in"]), Spool()
    files, spans = look_at(inputs.files, spool, lambda _: None)
    spool.close()
    plan = make_plan(files, iris.digest, iris.manifest.name, iris.manifest.signature, (), spans=spans)
    scorer, done = Scorer(iris, plan), []
    with closing(scorer), pytest.raises(BodyInvalid, match=r"b\.parquet"):
        done.extend(scorer.score_all(plan.tasks, tmp_path / "out"))
    assert [each.part for each in done] == [plan.tasks[0].part]
    assert (tmp_path / "out" / done[0].output.name).is_file()
    assert not list((tmp_path / "out").glob(".*"))
