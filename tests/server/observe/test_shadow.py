"""Copies for a candidate in shadow: compared with live's answers, and dropped rather than waited for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.observe.shadow import Shadows
from lading.server.observe.windows import Windows
from lading.signature import Signature
from lading.traffic import ShadowCounts
from support.bundles import linear_bundle
from support.hosted_app import gated, served_from
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.waiting import wait_until


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> ServedVersion:
    return served_from(linear_bundle(tmp_path_factory.mktemp("live") / "iris"))


@pytest.fixture
def windows() -> Windows:
    return Windows("replica-1")


@pytest.fixture
def shadows(windows) -> Iterator[Shadows]:
    shadows = Shadows(windows)
    yield shadows
    shadows.stop()


def candidate(folder, seed: int = 0) -> ServedVersion:
    return served_from(linear_bundle(folder / "candidate", seed=seed), version=2)


def answered(version: ServedVersion) -> Job:
    """Return a job of three rows that `version` has answered."""
    job = Job(version, {"X": np.eye(3, 4, dtype=np.float32)}, None, lambda outputs: outputs, 3)
    job.outcome = version.run(job.inputs)
    return job


def counted(windows: Windows) -> ShadowCounts:
    windows.rotate(time.time(), last=True)
    (window,) = windows.drain()
    return window.shadow


@pytest.mark.parametrize(("seed", "expected"), [(0, ShadowCounts(agreed=1)), (1, ShadowCounts(differed=1))])
def test_a_copy_is_run_on_the_candidate_and_compared_with_the_answer_of_live(
    live, windows, shadows, tmp_path, seed, expected
):
    beside = candidate(tmp_path, seed)
    shadows.copy(1, answered(live), beside)
    wait_until(lambda: windows.counts(1, beside).shadows != [])
    assert counted(windows) == expected


def test_a_candidate_with_other_inputs_fails_each_copy(live, windows, shadows, tmp_path):
    x, y = tensor("X", "float32", "batch", 2), tensor("Y", "float32", "batch", 2)
    model, inputs = graph([node("Identity", "X", "Y")], [x], [y]), {"X": np.eye(2, dtype=np.float32)}
    narrow = served_from(bundle_of(tmp_path / "b", model, Signature(inputs=(x,), outputs=(y,)), inputs), 2)
    shadows.copy(1, answered(live), narrow)
    assert counted(windows) == ShadowCounts(failed=1)


def test_copies_beyond_a_full_queue_are_dropped(live, windows, tmp_path):
    beside = candidate(tmp_path)
    go = gated(beside, 20).gate
    shadows = Shadows(windows, queue.Queue(2))
    for _ in range(5):  # One may run already and two are queued.
        shadows.copy(1, answered(live), beside)
    dropped = windows.counts(1, beside).shadows.count("dropped")
    go.set()
    shadows.stop()
    assert dropped in (2, 3)


class Contended(queue.Queue):
    """A queue whose last copy is always taken by another thread just after the queue said that it has one."""

    # The moment between `empty` and `get_nowait` cannot be hit at will with real threads.
    def empty(self) -> bool:
        return False


def test_the_thread_may_take_the_last_copy_while_stop_empties_the_queue(live, windows, tmp_path):
    beside = candidate(tmp_path)
    shadows = Shadows(windows, Contended())
    shadows.copy(1, answered(live), beside)
    wait_until(lambda: windows.counts(1, beside).shadows == ["agreed"])
    shadows.stop()
    assert "shadow" not in {thread.name for thread in threading.enumerate()}
