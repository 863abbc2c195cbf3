"""Windows of live traffic: what is counted, and by which names."""

from __future__ import annotations

import gc
import weakref
from bisect import bisect_left

import numpy as np
import pytest

from lading.server.inference.version import ServedVersion
from lading.server.observe.windows import OutputBuckets, Windows
from lading.signature import Signature
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.onnx_graphs import bundle_of, graph, node, tensor


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("windows") / "iris"))


def regressor(folder, scale: float, version: int):
    """Load ``value = scale * X``, whose golden values are 0 … 99 times the scale."""
    constants = {"scale": np.array(scale, np.float32)}
    x, value = tensor("X", "float32", "batch", 1), tensor("value", "float32", "batch", 1)
    model = graph([node("Mul", "X scale", "value")], [x], [value], constants=constants)
    inputs = {"X": np.arange(100, dtype=np.float32).reshape(-1, 1)}
    signature = Signature(inputs=(x,), outputs=(value,))
    return served_from(bundle_of(folder / str(version), model, signature, inputs), version)


def test_a_window_holds_what_was_seen_since_the_last(classifier):
    windows = Windows("replica-1")
    tally = windows.tally(7, classifier)
    probabilities = classifier.samples.outputs["probabilities"]
    for at in range(5):
        tally.answered.append((0.001 * (at + 1), probabilities[at : at + 1], ""))
    tally.answered.append((0.5, None, "RunFailed"))
    tally.feedback += [True, True]
    tally.shadows += ["agreed", "dropped", "agreed"]
    windows.cut(windows._began + 1.0, last=True)
    (window,) = windows.take()
    assert (window.name, window.release, window.version, window.replica) == ("iris", 7, 1, "replica-1")
    assert window.requests == 6
    assert window.errors == {"RunFailed": 1}
    assert sum(window.latency) == 6
    assert len(window.latency) == len(LATENCY_BOUNDS_S) + 1
    assert window.latency[bisect_left(LATENCY_BOUNDS_S, 0.5)] == 1
    assert sum(window.outputs.values()) == 5
    assert window.feedback == FeedbackCounts(right=2)
    assert window.shadow == ShadowCounts(agreed=2, dropped=1)
    assert windows.take() == []


def test_nothing_seen_makes_no_window(classifier):
    windows = Windows("replica-1")
    windows.tally(1, classifier)
    windows.cut(windows._began + 1.0, last=True)
    assert windows.take() == []


def test_what_could_not_be_delivered_is_kept_the_newest_first_of_all(classifier):
    windows = Windows("replica-1")
    for second in range(700):
        windows.tally(1, classifier).answered.append((0.001, None, ""))
        windows.cut(float(1000 + second), last=True)
    taken = windows.take()
    assert len(taken) == 600
    windows.tally(1, classifier).answered.append((0.001, None, ""))
    windows.cut(2000.0, last=True)
    windows.put_back(taken)
    again = windows.take()
    assert len(again) == 600
    assert [one.at for one in again] == sorted(one.at for one in again)
    assert again[-1].at == 1699.0, "the newest is the one that was cut last"


def test_a_full_store_of_windows_takes_nothing_older_back(classifier):
    windows = Windows("replica-1")
    windows.tally(1, classifier).answered.append((0.001, None, ""))
    windows.cut(100.0, last=True)
    old = windows.take()
    for second in range(600):
        windows.tally(1, classifier).answered.append((0.001, None, ""))
        windows.cut(float(1000 + second), last=True)
    windows.put_back(old)
    kept = windows.take()
    assert (len(kept), kept[-1].at) == (600, 1598.0), "it was the newest that went"


def test_classes_are_counted_by_their_names(classifier):
    probabilities = classifier.samples.outputs["probabilities"]
    expected = [("setosa", "versicolor", "virginica")[at] for at in probabilities.argmax(axis=1)]
    counted = OutputBuckets(classifier, classifier).count([probabilities[:4], probabilities[4:]])
    assert counted == {name: expected.count(name) for name in set(expected)}


def test_values_of_a_candidate_are_counted_by_the_bins_of_live(tmp_path):
    live, candidate = regressor(tmp_path, 1.0, 1), regressor(tmp_path, 2.0, 2)
    values = np.arange(100, dtype=np.float32).reshape(-1, 1)
    same = OutputBuckets(live, live).count([values])
    assert len(same) == 10
    assert set(same.values()) == {10}
    assert OutputBuckets(candidate, live).count([values]) == same
    shifted = OutputBuckets(candidate, live).count([values * 2])
    assert shifted["bin 9"] > 50


def test_a_live_version_that_is_still_loading_keeps_nobody_from_being_counted(tmp_path):
    first = regressor(tmp_path, 1.0, 1)
    windows = Windows("replica-1")
    windows.live_of = lambda _name: ServedVersion("model", 2, "sha256:2")
    windows.tally(2, first).answered.append((0.001, np.array([[50.0]], np.float32), ""))
    windows.cut(windows._began + 1.0, last=True)
    (window,) = windows.take()
    assert sum(window.outputs.values()) == 1


def test_a_version_that_has_become_live_is_counted_by_its_own_bins_with_its_next_candidate(tmp_path):
    first, second, third = (regressor(tmp_path, scale, at) for at, scale in ((1, 1.0), (2, 2.0), (3, 2.0)))
    windows = Windows("replica-1")
    windows.live_of = lambda _name: first
    values = np.arange(100, dtype=np.float32).reshape(-1, 1) * 2
    assert windows.binner(second).count([values])["bin 9"] > 50
    windows.live_of = lambda _name: second
    beside = windows.binner(third).count([values])
    assert windows.binner(second).count([values]) == beside
    assert set(beside.values()) == {10}


def test_what_names_outputs_keeps_no_version_alive(tmp_path):
    windows = Windows("replica-1")
    served = regressor(tmp_path, 1.0, 1)
    windows.binner(served)
    gone = weakref.ref(served)
    del served
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", ["value", "label"])
def test_outputs_of_different_widths_in_one_second_are_all_counted(tmp_path, name):
    x, value = tensor("X", "float32", "batch", "n"), tensor(name, "float32", "batch", "n")
    model = graph([node("Identity", "X", name)], [x], [value])
    inputs = {"X": np.arange(20, dtype=np.float32).reshape(10, 2)}
    served = served_from(bundle_of(tmp_path / name, model, Signature(inputs=(x,), outputs=(value,)), inputs))
    wide, narrow = np.ones((2, 3), np.float32), np.ones((4, 1), np.float32)
    nothing = np.ones((0, 3), np.float32)
    counted = OutputBuckets(served, served).count([wide, narrow, nothing])
    assert sum(counted.values()) == (10 if name == "value" else 6), "values, or the first of each row"


def test_outputs_that_cannot_be_named_take_no_other_window_along(classifier, tmp_path, caplog):
    windows = Windows("replica-1")
    other = regressor(tmp_path, 1.0, 1)
    for _ in range(2):
        windows.tally(1, other).answered.append((0.001, np.array([["no number"]]), ""))
        windows.tally(1, classifier).answered.append((0.001, classifier.samples.outputs["probabilities"], ""))
        windows.cut(windows._began + 1.0, last=True)
    assert [(one.requests, bool(one.outputs)) for one in windows.take()] == [(1, False), (1, True)] * 2
    assert len(caplog.records) == 1, "it is said once"


def test_missing_values_are_counted_as_such(tmp_path):
    live = regressor(tmp_path, 1.0, 1)
    assert OutputBuckets(live, live).count([np.array([[np.nan], [50.0]], np.float32)])["nan"] == 1


def test_what_is_added_late_to_a_second_is_counted_with_it(classifier):
    windows = Windows("replica-1")
    tally = windows.tally(1, classifier)
    tally.answered.append((0.001, None, ""))
    windows.cut(windows._began + 1.0)
    assert windows.take() == [], "somebody may still hold the tally"
    tally.answered.append((0.001, None, ""))
    windows.cut(windows._began + 1.0)
    (window,) = windows.take()
    assert window.requests == 2
