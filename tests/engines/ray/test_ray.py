"""Batch runs on a real Ray cluster of two machines: the bytes of one process, whatever ends in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from support.batch_bundles import CASES
from support.batch_runs import files
from support.broken_onnx_runtime import broken_onnx_runtime
from support.cluster_batches import PART_ROWS, PARTS
from support.environments import environments  # noqa: F401 - a fixture
from support.ray_clusters import SOURCES, RayCluster, kill
from support.ray_runs import Started
from support.waiting import wait_until

QUICK = ("floats", "mixed_columns", "texts", "sequences")
FEW = [name for name in CASES if name not in QUICK]

NO_LIBRARY = "raise ImportError('_core.so: cannot open shared object file')"


def broken(folder, library: str, code: str) -> str:
    """Write a library that is broken; return where to look for modules."""
    (folder / library).mkdir(parents=True)
    (folder / library / "__init__.py").write_text(code)
    return f"{folder}:{SOURCES}"


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize(
    "names", [QUICK, pytest.param(FEW, marks=[pytest.mark.slow, pytest.mark.wide])], ids=["quick", "rest"]
)
def test_actors_write_the_bytes_of_one_process(names, tmp_path, start, locally):
    cases = {}
    for name in names:
        (tmp_path / name).mkdir()
        cases[name] = CASES[name](tmp_path / name)
    # Here first: no package index can be reached on the cluster's network, environments are found built.
    expected = {name: locally(case) for name, case in cases.items()}
    begun = start(*((case, tmp_path / f"ray-{name}") for name, case in cases.items()))
    reports = begun.reports()
    for name, report in zip(cases, reports, strict=True):
        assert "error" not in report, (name, report)
        assert report["refused"] == []
        assert files(tmp_path / f"ray-{name}") == expected[name], name


def test_the_part_of_an_actor_that_is_killed_is_scored_again(tmp_path, long_case, start, locally):
    run = start((long_case, tmp_path / "out"))
    os.kill(run.frozen_actor(), signal.SIGKILL)
    (report,) = run.reports()
    assert (report["manifest"]["rows"], report["resumed"]) == (PARTS * PART_ROWS, 0)
    assert files(tmp_path / "out") == locally(long_case)


@pytest.mark.slow
@pytest.mark.wide
def test_the_parts_of_a_machine_that_is_lost_are_scored_elsewhere(
    tmp_path, cluster, long_case, start, locally
):
    machine = cluster.add_machine()
    run = start((long_case, tmp_path / "out"), processes=3)
    run.comes_to(1)
    wait_until(lambda: cluster.workers("ray::Actor", machine), 60)
    actor = cluster.workers("ray::Actor", machine)[0]
    os.kill(actor, signal.SIGSTOP)
    run.comes_to(PARTS - 1)
    os.kill(machine, signal.SIGKILL)
    os.kill(actor, signal.SIGKILL)
    (report,) = run.reports()
    assert report["manifest"]["rows"] == PARTS * PART_ROWS
    assert files(tmp_path / "out") == locally(long_case)


@pytest.mark.slow
@pytest.mark.wide
def test_a_run_whose_driver_was_killed_goes_on_and_its_late_actor_changes_nothing(
    tmp_path, long_case, start, locally
):
    first = start((long_case, tmp_path / "out"))
    late = first.frozen_actor()
    kill(first.process)
    (report,) = start((long_case, tmp_path / "out")).reports()
    assert report["resumed"] == PARTS - 1
    # It wakes up beside the run that is whole, if Ray has not ended it by force.
    with contextlib.suppress(ProcessLookupError):
        os.kill(late, signal.SIGCONT)
    wait_until(lambda: not Path(f"/proc/{late}").exists(), 60)
    assert files(tmp_path / "out") == locally(long_case)


def test_a_machine_whose_answers_differ_is_refused_and_the_others_go_on(
    tmp_path, cluster, long_case, start, locally
):
    path = f"{broken_onnx_runtime(tmp_path / 'library')}:{SOURCES}"
    machine = cluster.add_machine(PYTHONPATH=path)
    (report,) = start((long_case, tmp_path / "out"), processes=3).reports()
    os.kill(machine, signal.SIGKILL)
    (refused,) = report["refused"]
    assert "golden samples of `iris`" in refused["reason"]
    assert files(tmp_path / "out") == locally(long_case)


@pytest.mark.slow
@pytest.mark.wide
def test_a_run_with_no_machine_left_ends_with_the_reason_of_the_last(tmp_path, long_case):
    with RayCluster() as ill:
        ill.add_machine(PYTHONPATH=broken(tmp_path / "library", "msgspec", NO_LIBRARY))
        (report,) = Started(ill, [(long_case, tmp_path / "out")]).reports()
    assert report["error"] == "RunFailed"
    assert "ImportError: _core.so: cannot open shared object file" in report["message"]
    assert "no machine of the cluster is left" in report["message"]
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.wide
def test_a_machine_that_does_not_see_the_output_is_refused(tmp_path, cluster, long_case, start, locally):
    machine = cluster.add_machine(hidden=tmp_path)
    (report,) = start((long_case, tmp_path / "out"), processes=3).reports()
    os.kill(machine, signal.SIGKILL)
    (refused,) = report["refused"]
    assert f"output `{tmp_path / 'out'}` on" in refused["reason"]
    assert files(tmp_path / "out") == locally(long_case)


def test_a_cluster_that_does_not_answer_is_named(cluster, tmp_path, long_case):
    place = ["--input", str(long_case.source), "--output", str(tmp_path / "out"), "--engine", "ray"]
    bundle = str(long_case.bundle.path)
    run = cluster.lading("batch", "run", bundle, *place, "--ray-address", "127.0.0.1:1")
    assert "the Ray cluster at `127.0.0.1:1`: expected one that answers, found" in run.stderr
    assert "ray start --head" in run.stderr


def test_an_address_that_is_none_is_refused(cluster, tmp_path, long_case):
    place = ["--input", str(long_case.source), "--output", str(tmp_path / "out"), "--engine", "ray"]
    run = cluster.lading("batch", "run", str(long_case.bundle.path), *place, "--ray-address", "nonsense")
    assert "`--ray-address`: expected `HOST:PORT` or `auto`, found `nonsense`" in run.stderr
