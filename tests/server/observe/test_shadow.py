"""Copies for a candidate in shadow: compared with live's answers, and dropped rather than waited for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lading.release import Plan, begin
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion
from lading.server.observe.shadow import Shadows
from lading.server.observe.windows import Windows
from lading.signature import Signature
from lading.traffic import ShadowCounts, Window
from support.bundles import linear_bundle
from support.hosted_app import gated, served_from
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.waiting import wait_until

LIVE = begin(None, "iris", 1, Plan(mode="live"), actor="t", at="", runtime=None)
TRAFFIC, CANARY = (
    Traffic.of(begin(LIVE, "iris", 2, Plan(mode=mode), actor="t", at="", runtime=None))
    for mode in ("shadow", "canary")
)


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


@pytest.mark.parametrize(
    ("seed", "expected"), [(0, ShadowCounts(agreed=1, same_values=1)), (2, ShadowCounts(differed=1))]
)
def test_a_copy_is_run_on_the_candidate_and_compared_with_the_answer_of_live(
    live, windows, shadows, tmp_path, seed, expected
):
    beside = candidate(tmp_path, seed)
    shadows.copy(TRAFFIC, answered(live), beside)
    wait_until(lambda: windows.counts(2, beside).shadows != [])
    assert counted(windows) == expected


def test_a_candidate_with_other_inputs_fails_each_copy(live, windows, shadows, tmp_path):
    x, y = tensor("X", "float32", "batch", 2), tensor("Y", "float32", "batch", 2)
    model, inputs = graph([node("Identity", "X", "Y")], [x], [y]), {"X": np.eye(2, dtype=np.float32)}
    narrow = served_from(bundle_of(tmp_path / "b", model, Signature(inputs=(x,), outputs=(y,)), inputs), 2)
    shadows.copy(TRAFFIC, answered(live), narrow)
    assert counted(windows) == ShadowCounts(failed=1)


def relabelled(folder, permutation: list[int]) -> ServedVersion:
    """Load the model of `live` with its classes permuted."""
    weights = np.random.default_rng(0)
    w = weights.standard_normal((4, 3)).astype(np.float32)
    b = weights.standard_normal(3).astype(np.float32)
    nodes = [
        node("MatMul", "X W", "product"),
        node("Add", "product b", "scores"),
        node("Softmax", "scores", "probabilities", axis=1),
        node("ArgMax", "probabilities", "label", axis=1, keepdims=0),
    ]
    x = tensor("X", "float32", "batch", 4)
    outputs = [tensor("label", "int64", "batch"), tensor("probabilities", "float32", "batch", 3)]
    constants = {"W": w[:, permutation], "b": b[permutation]}
    signature = Signature(inputs=(x,), outputs=tuple(outputs))
    rows = {"X": np.random.default_rng(7).uniform(0, 7, (16, 4)).astype(np.float32)}
    model = graph(nodes, [x], outputs, constants=constants)
    version = 2 if permutation != [0, 1, 2] else 1
    return served_from(bundle_of(folder / f"{permutation}", model, signature, rows), version)


@pytest.mark.parametrize("by_live", [True, False], ids=["live answered", "candidate answered"])
@pytest.mark.parametrize("asked", [("label",), ("probabilities",), None])
def test_a_canary_with_permuted_classes_differs_in_what_both_answer(windows, tmp_path, by_live, asked):
    first, permuted = relabelled(tmp_path, [0, 1, 2]), relabelled(tmp_path, [1, 2, 0])
    side = first if by_live else permuted
    job = Job(side, {"X": np.eye(3, 4, dtype=np.float32)}, asked, lambda outputs: outputs, 3)
    job.outcome = side.run(job.inputs, asked)
    shadows = Shadows(windows)
    shadows.pair(CANARY, job, first, permuted)
    wait_until(lambda: windows.counts(2, permuted).shadows == ["differed"])
    assert not shadows.is_pair_due("iris"), "few requests are answered by both"
    shadows.stop()
    (window,) = counted_all(windows)
    assert (window.version, window.requests, window.shadow.failed) == (2, 0, 0), "no caller asked it"
    assert window.shadow.differed == 1


def counted_all(windows: Windows) -> list[Window]:
    windows.rotate(time.time(), last=True)
    return windows.drain()


def test_labels_are_compared_and_probabilities_only_shown(live, windows, shadows, tmp_path):
    sharper = served_from(linear_bundle(tmp_path / "sharper", scale=2.0), version=2)
    shadows.copy(TRAFFIC, answered(live), sharper)
    wait_until(lambda: windows.counts(2, sharper).shadows != [])
    assert counted(windows) == ShadowCounts(agreed=1)


def regressor(folder, offset: float, version: int) -> ServedVersion:
    x, value = tensor("X", "float32", "batch", 1), tensor("value", "float32", "batch", 1)
    constants = {"offset": np.array(1000 + offset, np.float32)}
    model = graph([node("Add", "X offset", "value")], [x], [value], constants=constants)
    inputs = {"X": np.linspace(-3, 3, 100, dtype=np.float32).reshape(-1, 1)}
    signature = Signature(inputs=(x,), outputs=(value,))
    return served_from(bundle_of(folder / str(version), model, signature, inputs), version)


@pytest.mark.parametrize(
    ("offset", "expected"), [(0.5, ShadowCounts(agreed=1)), (1.5, ShadowCounts(differed=1))]
)
def test_values_agree_within_half_of_their_spread_however_far_from_zero(windows, tmp_path, offset, expected):
    # The golden values are evenly spread over 6, their 16th and 84th percentiles 4.1 apart.
    first, other = regressor(tmp_path, 0, 1), regressor(tmp_path, offset, 2)
    job = Job(first, {"X": np.zeros((1, 1), np.float32)}, None, lambda outputs: outputs)
    job.outcome = first.run(job.inputs)
    shadows = Shadows(windows)
    shadows.copy(TRAFFIC, job, other)
    wait_until(lambda: windows.counts(2, other).shadows != [])
    shadows.stop()
    (window,) = counted_all(windows)
    assert (window.shadow.agreed, window.shadow.differed) == (expected.agreed, expected.differed)


def test_sides_of_a_canary_that_take_other_inputs_are_not_compared(live, windows, shadows, tmp_path):
    x, y = tensor("X", "float32", "batch", 2), tensor("Y", "float32", "batch", 2)
    model, inputs = graph([node("Identity", "X", "Y")], [x], [y]), {"X": np.eye(2, dtype=np.float32)}
    narrow = served_from(bundle_of(tmp_path / "b", model, Signature(inputs=(x,), outputs=(y,)), inputs), 2)
    shadows.pair(CANARY, answered(live), live, narrow)
    shadows.stop()
    assert counted_all(windows) == []


def test_copies_beyond_a_full_queue_are_dropped(live, windows, tmp_path):
    beside = candidate(tmp_path)
    go = gated(beside, 20).gate
    shadows = Shadows(windows, queue.Queue(2))
    for _ in range(5):  # One may run already and two are queued.
        shadows.copy(TRAFFIC, answered(live), beside)
    dropped = windows.counts(2, beside).shadows.count("dropped")
    go.set()
    shadows.stop()
    assert dropped in (2, 3)


class Contended(queue.Queue):
    """A queue whose last copy is always taken by another thread just after the queue said that it has one."""

    # The moment between `empty` and `get_nowait` cannot be hit at will with real threads.
    def empty(self) -> bool:
        return False


def test_the_thread_may_take_the_last_copy_while_stop_empties_the_queue(live, windows, tmp_path):
    others = set(threading.enumerate())  # Another test's server may have left one.
    beside = candidate(tmp_path)
    shadows = Shadows(windows, Contended())
    shadows.copy(TRAFFIC, answered(live), beside)
    wait_until(lambda: windows.counts(2, beside).shadows == ["agreed", "same_values"])
    shadows.stop()
    assert "shadow" not in {thread.name for thread in set(threading.enumerate()) - others}
