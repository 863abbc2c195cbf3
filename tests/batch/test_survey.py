"""Every input is looked at once before the first row; of a run that goes on, only what is new."""

from __future__ import annotations

import pytest

from lading.batch.inputs import find_inputs
from lading.batch.plan import make_plan, spans_of
from lading.batch.spool import Spool
from lading.batch.survey import look_at


@pytest.mark.slow
def test_an_object_that_a_plan_knows_is_not_read_again(iris, parquet, bucket):
    source = parquet("rows.parquet", 300)
    bucket.put("in/a.parquet", source)
    bucket.put("in/b.parquet", source)
    inputs, spool, looked = find_inputs([f"{bucket.url}/in", source]), Spool(), []

    def check(file) -> None:
        looked.append(file.name)
        assert len(list(spans_of(file))) == 1

    files, spans = look_at(inputs.files, spool, check)
    assert looked == ["a.parquet", "b.parquet", "rows.parquet"]
    assert len({file.sha256 for file in files}) == 1
    plan = make_plan(files, iris.digest, "iris", iris.manifest.signature, (), spans=spans)
    bucket.put("in/b.parquet", parquet("other.parquet", 300, seed=1))
    looked.clear()
    again, spans_again = look_at(find_inputs([f"{bucket.url}/in", source]).files, spool, check, plan)
    # Files of this machine are hashed in any case.
    assert looked == ["b.parquet", "rows.parquet"]
    assert (again[0], again[2], spans_again) == (files[0], files[2], spans)
    assert again[1].sha256 != files[1].sha256
    spool.close()
