"""What a registry knows of a run: while it goes on, how it ended, and that it may be unreachable."""

from __future__ import annotations

import hashlib
import shutil

import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.batch import plan as planning
from lading.batch.recording import Recorder
from lading.batch.run import Options, run_batch
from lading.errors import GateNotMet
from lading.registry import Registry
from lading.registry.catalog.runs import RunQuery
from support.batch_runs import HERE


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


def test_a_run_is_known_while_it_goes_on_and_when_it_has_ended(
    tmp_path, iris, parquet, registry, monkeypatch
):
    monkeypatch.setattr(planning, "PART_ROWS", 1000)
    seen = []

    def look(done, parts, rows):
        while done == 2 and not seen:
            (run,) = registry.runs.page(RunQuery())
            if run.batch.parts_done == 2:
                seen.append((run.state, run.title, run.actor, run.batch.parts, run.batch.rows))

    recorder = Recorder(registry.runs, actor="ann", host="h", every_s=0.005, progress=look)
    source = parquet("rows.parquet", 3000)
    run_batch(iris, [source], tmp_path / "out", HERE, model="iris:3", recorder=recorder)
    assert seen == [("running", "iris:3", "ann", 3, 2000)]
    (run,) = registry.runs.page(RunQuery())
    assert (run.state, run.text, run.digest) == ("finished", "", iris.digest)
    assert run.batch.manifest == hashlib.sha256((tmp_path / "out/manifest.json").read_bytes()).hexdigest()
    assert [(each.name, each.rows) for each in run.batch.inputs] == [("rows.parquet", 3000)]
    assert (run.batch.scored, run.batch.resumed, run.batch.output) == (3000, 0, str(tmp_path / "out"))
    assert run.batch.drift == ()  # Known to be unknown: the bundle has no profile.
    assert run.batch.rows_per_s > 0
    assert recorder.missed is None


def test_a_run_that_fails_says_why_and_is_the_same_run_when_it_goes_on(tmp_path, iris, table, registry):
    rows = table(100).to_pydict()
    rows["petal_width"][:10] = [None] * 10
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "rows.parquet")
    files, out = [tmp_path / "rows.parquet"], tmp_path / "out"
    strict = Options(keep=("customer",), processes=1, max_rejected=0.01)
    with pytest.raises(GateNotMet) as refused:
        run_batch(iris, files, out, strict, recorder=Recorder(registry.runs))
    (run,) = registry.runs.page(RunQuery())
    assert (run.state, run.text) == ("failed", str(refused.value))
    run_batch(iris, files, out, HERE, recorder=Recorder(registry.runs))
    (again,) = registry.runs.page(RunQuery())
    assert (again.id, again.began_at) == (run.id, run.began_at)
    assert (again.state, again.batch.resumed, again.batch.rejected, again.text) == ("finished", 1, 10, "")
    assert again.batch.reasons == (("column `petal_width`: expected `float32`, found no value", 10),)


def test_a_registry_that_goes_away_stops_no_run_and_is_not_passed_over(
    tmp_path, iris, parquet, registry, caplog
):
    recorder = Recorder(registry.runs)
    registry.close()
    shutil.rmtree(tmp_path / "registry")
    run_batch(iris, [parquet("rows.parquet", 100)], tmp_path / "out", HERE, recorder=recorder)
    assert (tmp_path / "out/manifest.json").exists()
    assert recorder.missed is not None
    assert sum("not recorded" in record.message for record in caplog.records) == 1
