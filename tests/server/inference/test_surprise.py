"""Runs that stayed in the thread of their caller and took long, because of the model or of the machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lading.errors import RunFailed
from lading.server.inference.batcher import BatchLimits
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.inline_runs import InlineRuns
from lading.server.inference.version import ServedVersion, State
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.inference_jobs import Sink, random_job
from support.waiting import wait_until

LONG_S = 0.03


@pytest.fixture
def served(tmp_path: Path) -> ServedVersion:
    """A version with runs of up to 64 rows that are known to be short."""
    served = served_from(linear_bundle(tmp_path / "iris"))
    runs = InlineRuns(served.signature)
    runs.measured(random_job(served).inputs, 64)
    served.adopt(replace(served.model, inline_runs=runs))
    return served


@pytest.fixture
def plane(served):
    plane = DataPlane("iris", batch=BatchLimits())
    plane.publish([served])
    yield plane
    plane.close()


def make_long(served: ServedVersion, is_long: Callable[[int, int], bool]) -> list[int]:
    """Have runs take 30 ms where `is_long` says so of the number of the run and its rows; return all rows."""
    # Real models take long by their size or values, which a test cannot have at one run and not at the next.
    rows: list[int] = []

    def run(inputs, outputs=None):
        rows.append(len(inputs["X"]))
        if is_long(len(rows), rows[-1]):
            time.sleep(LONG_S)
        return ServedVersion.run(served, inputs, outputs)

    served.run = run
    return rows


def known(served: ServedVersion) -> int:
    return served.model.inline_runs.rows


def settled(served: ServedVersion) -> bool:
    return served.in_flight == 0


def test_a_run_that_is_long_again_keeps_runs_of_its_size_in_the_queue_for_good(served, plane, caplog):
    make_long(served, lambda _number, _rows: True)
    with caplog.at_level(logging.WARNING, "lading.server"):
        assert plane.start(random_job(served), Sink().deliver)
        assert known(served) == 0  # at once, and not when that is settled
        wait_until(lambda: settled(served))
    assert "iris:1: a run of 1 rows took 3" in caplog.text
    served.run = lambda inputs, outputs=None: ServedVersion.run(served, inputs, outputs)
    sink = Sink()
    for number in range(5):
        job = random_job(served)
        assert not plane.start(job, sink.deliver)
        sink.wait(number + 1)
        plane.release(job)
    assert len(caplog.records) == 1


def test_a_run_that_was_long_once_changes_nothing(served, plane, caplog):
    rows = make_long(served, lambda number, _rows: number == 1)
    assert plane.start(random_job(served), Sink().deliver)
    wait_until(lambda: settled(served))
    assert known(served) == 64
    assert plane.start(random_job(served), Sink().deliver)
    assert rows[:2] == [1, 1]
    assert not caplog.records


def test_rows_of_several_requests_that_are_long_together_are_fewer_the_next_time(served, plane):
    rows = make_long(served, lambda _number, rows: rows > 20)
    plane.run_together([random_job(served, 10) for _ in range(4)])
    wait_until(lambda: settled(served))
    assert rows[:2] == [40, 40]
    assert known(served) == 20
    jobs = [random_job(served, 10) for _ in range(4)]
    plane.run_together(jobs)
    assert rows[-2:] == [20, 20]
    assert all(job.result is not None for job in jobs)


def test_a_run_that_fails_late_counts_as_a_long_one(served, plane):
    def run(_inputs, _outputs=None):
        time.sleep(LONG_S)
        raise RunFailed("the model failed on this input", found="no end")

    served.run = run
    assert plane.start(random_job(served), Sink().deliver)
    wait_until(lambda: settled(served))
    assert known(served) == 0


def test_nothing_is_decided_where_the_queue_has_no_place_or_no_time(served, tmp_path):
    full = DataPlane("iris", batch=BatchLimits(max_queue=0))
    late = DataPlane("iris", deadline_s=-1.0)
    for plane in (full, late):
        plane.publish([served])
        make_long(served, lambda number, _rows: number == 1)
        runs = InlineRuns(served.signature)
        runs.measured(random_job(served).inputs, 64)
        served.adopt(replace(served.model, inline_runs=runs))
        assert plane.start(random_job(served), Sink().deliver)
        wait_until(lambda: settled(served))
        assert known(served) == 0
        for _ in range(3):
            runs.ran([random_job(served).inputs], 1)
        assert known(served) == 1  # It can be learned again.
        plane.close()


def test_a_version_that_is_being_unloaded_is_not_run_again(served, plane):
    rows = make_long(served, lambda _number, _rows: served.advance(State.DRAINING) is None)
    served.run, run = lambda inputs, outputs=None: (run(inputs, outputs), served.unload(1))[0], served.run
    assert plane.start(random_job(served), Sink().deliver)
    assert rows == [1]
