"""Batch runs on a real cluster of Spark: the bytes of one process, whatever ends in the middle."""

from __future__ import annotations

import os
import signal

import pytest

from lading.batch.recording import Recorder
from lading.batch.run import Options, run_batch
from lading.runtime.python.host import this_host
from support.batch_bundles import CASES
from support.batch_runs import files
from support.broken_onnx_runtime import broken_onnx_runtime
from support.cluster_batches import PART_ROWS, PARTS
from support.environments import environments, shared_cache  # noqa: F401 - a fixture
from support.spark_clusters import SparkCluster, SparkRuns, executors

# One session for all of them: a second would need two more executors.
pytestmark = pytest.mark.xdist_group("spark")

QUICK = ("floats", "mixed_columns", "texts", "sequences")
FEW = [name for name in CASES if name not in QUICK]


@pytest.mark.usefixtures("environments", "session")
@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.wide]) for name in FEW)]
)
def test_executors_write_the_bytes_of_one_process(name, tmp_path, locally):
    (tmp_path / name).mkdir()
    case = CASES[name](tmp_path / name)
    expected = locally(case)
    options = Options(engine="spark", keep=case.keep)
    run = run_batch(case.bundle, [case.source], tmp_path / "out", options, python=this_host(case.allow))
    assert run.refused == ()
    assert files(tmp_path / "out") == expected


def test_the_part_of_an_executor_that_is_killed_is_scored_again(tmp_path, session, long_case, locally):
    expected = locally(long_case)
    killed: list[int] = []

    def progress(done: int, parts: int, rows: int) -> None:
        if done == 3 and not killed:
            # Stopped, it keeps the part that it is at while the other scores all the rest.
            killed.append(executors(session)[0])
            os.kill(killed[0], signal.SIGSTOP)
        if done == PARTS - 1:
            os.kill(killed[0], signal.SIGKILL)

    options = Options(engine="spark")
    recorder = Recorder(progress=progress)
    run = run_batch(long_case.bundle, [long_case.source], tmp_path / "out", options, recorder=recorder)
    assert (run.manifest.rows, run.resumed) == (PARTS * PART_ROWS, 0)
    assert killed[0] not in executors(session)
    assert files(tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.wide
def test_a_run_whose_driver_was_killed_goes_on(tmp_path, tmp_path_factory, long_case, locally):
    with SparkCluster(shared_cache(tmp_path_factory)) as cluster:
        cluster.add_worker()
        with SparkRuns(cluster, [(long_case, tmp_path / "out")]) as first:
            first.comes_to(3)
            first.kill()
            kept = first.done()
        with SparkRuns(cluster, [(long_case, tmp_path / "out")]) as second:
            (report,) = second.reports()
    assert report["resumed"] == kept
    assert files(tmp_path / "out") == locally(long_case)


@pytest.mark.slow
@pytest.mark.wide
def test_a_machine_whose_answers_differ_is_refused_and_the_others_go_on(
    tmp_path, tmp_path_factory, long_case, locally
):
    library = broken_onnx_runtime(tmp_path / "library")
    with SparkCluster(shared_cache(tmp_path_factory)) as cluster:
        cluster.add_worker(PYTHONPATH=f"{library}:{cluster.environ['PYTHONPATH']}")
        with SparkRuns(cluster, [(long_case, tmp_path / "alone")]) as alone:
            (report,) = alone.reports()
        # Nothing is left of it but the reason.
        assert report["error"] == "GoldenMismatch"
        assert "golden samples of `iris`" in report["message"]
        assert not (tmp_path / "alone" / "manifest.json").exists()
        cluster.add_worker()
        with SparkRuns(cluster, [(long_case, tmp_path / "out")]) as runs:
            (report,) = runs.reports()
    (refused,) = report["refused"]
    assert "golden samples of `iris`" in refused["reason"]
    assert files(tmp_path / "out") == locally(long_case)
