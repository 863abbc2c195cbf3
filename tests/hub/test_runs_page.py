"""The pages of runs over data sets, over a real registry and what a real batch run has reported."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from lading.batch.recording import Recorder
from lading.batch.run import Options, run_batch
from support.bundles import linear_bundle
from support.hub_pages import HubPages, text_of
from support.hub_runs import FINISHED, LOST, facts, finished, run

COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@pytest.fixture
def pages(registry) -> HubPages:
    registry.models()
    return HubPages(registry)


def test_without_a_run_the_page_says_what_would_make_one(pages):
    page = pages.get("/runs").text
    assert "No run is recorded yet" in page
    assert "<code>lading batch run iris:1 --input rows.parquet --output scored</code>" in page
    assert "No run is like that" in pages.get("/runs?state=failed").text


@pytest.mark.slow
def test_a_batch_run_is_on_its_page_with_the_digests_of_what_it_read_and_wrote(registry, pages, tmp_path):
    version = registry.push(linear_bundle(tmp_path / "iris.bundle"))
    values = np.random.default_rng(0).uniform(0, 7, (300, 4))
    table = {name: values[:, at].tolist() for at, name in enumerate(COLUMNS)}
    table["petal_width"][:3] = [None] * 3
    pyarrow.parquet.write_table(pa.table(table), tmp_path / "rows.parquet")
    recorder = Recorder(registry.runs, actor="ann", host="batch-1")
    files, out = [tmp_path / "rows.parquet"], tmp_path / "out"
    bundle = registry.pull("iris:1", tmp_path / "pulled")
    run_batch(bundle, files, out, Options(processes=1), model="iris:1", recorder=recorder)
    (row,) = pages.data("/runs?model=iris")["table"]["rows"]
    page = text_of(pages.get(f"/runs/{row['id']}"))
    for text in (
        "iris:1 · batch run",
        "finished by ann",
        "297 · 99 %",
        "column `petal_width`",
        "The bundle has no profile of its training data",
        version.digest,
        hashlib.sha256((out / "manifest.json").read_bytes()).hexdigest(),
        hashlib.sha256(files[0].read_bytes()).hexdigest(),
        f"lading batch verify {out}",
    ):
        assert text in page, text
    assert f'href="/runs/{row["id"]}"' in pages.get("/models/iris").text
    assert "column `petal_width`" in pages.get(f"/api/runs/{row['id']}.csv?table=reasons").text


def test_a_run_that_goes_on_says_how_far_it_is(registry, pages, push):
    push()
    registry.runs.save(run(batch=facts(parts=40, parts_done=12)))
    page = pages.get(f"/runs/{FINISHED}").text
    assert '<progress max="1" value="0.3000"' in page
    assert "12 of 40 parts" in page
    assert "left" in page
    assert "A run of iris:2 over a data set goes on: 30 % now" in text_of(pages.get("/"))


def test_a_run_that_has_failed_is_on_the_first_page_with_its_reason(registry, pages):
    registry.runs.save(run(state="failed", text="input `a.csv`: expected a column `x`, found none"))
    registry.runs.save(run(LOST, batch=finished(), state="finished"))
    (concern,) = pages.data("/home")["concerns"]
    assert (concern["kind"], concern["run"]) == ("run failed", FINISHED)
    assert "expected a column `x`, found none" in text_of(pages.get(f"/runs/{FINISHED}"))


def test_a_command_to_copy_has_the_output_quoted(registry, pages):
    registry.runs.save(run(state="finished", batch=facts(output="/data/$(touch x); a b")))
    page = text_of(pages.get(f"/runs/{FINISHED}"))
    assert "lading batch verify '/data/$(touch x); a b'" in page


def test_a_run_that_nobody_knows_is_not_found(pages):
    for id in ("nothing", "a" * 100, "%00"):
        assert pages.get(f"/runs/{id}").status_code == 404


def test_the_table_is_a_file_as_well(registry, pages):
    registry.runs.save(run(actor="=cmd()"))
    table = pages.get("/api/runs.csv?state=running").text
    assert table.splitlines()[0].startswith("id,kind,name,version")
    assert ",'=cmd()," in table
