"""Windows of live traffic: what is counted, and in which buckets."""

from __future__ import annotations

import gc
import time
import weakref
from bisect import bisect_left

import msgspec
import numpy as np
import pytest

from lading.registry.catalog.sql.statements import json_text
from lading.server.inference.version import ServedVersion
from lading.server.observe.outputs import OutputNames
from lading.server.observe.windows import Windows
from lading.signature import Signature
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window
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


def test_a_window_has_the_counts_since_the_last_one(classifier):
    windows = Windows("replica-1")
    counts = windows.counts(7, classifier)
    probabilities = classifier.samples.outputs["probabilities"]
    for at in range(5):
        counts.answers.append((0.001 * (at + 1), {"probabilities": probabilities[at : at + 1]}, ""))
    counts.answers.append((0.5, None, "RunFailed"))
    counts.feedback += [True, True]
    counts.shadows += ["agreed", "dropped", "agreed"]
    windows.rotate(time.time(), last=True)
    (window,) = windows.drain()
    assert (window.name, window.release, window.version, window.replica) == ("iris", 7, 1, "replica-1")
    assert window.requests == 6
    assert window.errors == {"RunFailed": 1}
    assert sum(window.latency) == 6
    assert len(window.latency) == len(LATENCY_BOUNDS_S) + 1
    assert window.latency[bisect_left(LATENCY_BOUNDS_S, 0.5)] == 1
    assert sum(window.outputs.values()) == 5
    assert window.feedback == FeedbackCounts(right=2)
    assert window.shadow == ShadowCounts(agreed=2, dropped=1)
    assert windows.drain() == []


def test_a_window_states_what_each_group_of_callers_had(classifier):
    windows = Windows("replica-1")
    probabilities = classifier.samples.outputs["probabilities"]
    for group, count in ((2, 3), (5, 1)):
        counts = windows.counts(7, classifier, group)
        counts.answers += [(0.001, {"probabilities": probabilities[:1]}, "")] * count
        counts.answers.append((0.5, None, "RunFailed"))
        counts.feedback.append(group == 2)
        counts.shadows.append("agreed")
    windows.rotate(time.time(), last=True)
    (window,) = windows.drain()
    assert (window.requests, window.errors, sum(window.latency)) == (6, {"RunFailed": 2}, 6)
    assert window.feedback == FeedbackCounts(right=1, wrong=1)
    assert window.shadow == ShadowCounts(agreed=2)
    first, second = window.parts
    assert (first.group, first.requests, first.errors) == (2, 4, {"RunFailed": 1})
    assert (second.group, second.requests, second.feedback) == (5, 2, FeedbackCounts(wrong=1))
    assert dict(first.latency) == {bisect_left(LATENCY_BOUNDS_S, at): n for at, n in ((0.001, 3), (0.5, 1))}
    assert sum(first.outputs.values()) == 3
    stored = json_text(window)
    assert msgspec.json.decode(stored, type=Window) == window
    assert len(stored) < 1200, "what it takes in the catalog"


def test_callers_who_send_many_rows_leave_those_of_others_counted(classifier):
    windows = Windows("replica-1")
    row = classifier.samples.outputs["probabilities"][:1]
    windows.counts(7, classifier, 0).answers.append((0.1, {"probabilities": np.repeat(row, 50_000, 0)}, ""))
    windows.counts(7, classifier, 1).answers += [(0.1, {"probabilities": row}, "")] * 5
    windows.rotate(time.time(), last=True)
    (window,) = windows.drain()
    assert [sum(part.outputs.values()) for part in window.parts] == [10_000, 5]


def test_a_second_without_requests_makes_no_window(classifier):
    windows = Windows("replica-1")
    windows.counts(1, classifier)
    windows.rotate(time.time(), last=True)
    assert windows.drain() == []


def test_undelivered_windows_are_kept_and_the_oldest_dropped_first(classifier):
    windows = Windows("replica-1")
    for second in range(700):
        windows.counts(1, classifier).answers.append((0.001, None, ""))
        windows.rotate(float(1000 + second), last=True)
    taken = windows.drain()
    assert len(taken) == 600
    windows.counts(1, classifier).answers.append((0.001, None, ""))
    windows.rotate(2000.0, last=True)
    windows.put_back(taken)
    again = windows.drain()
    assert len(again) == 600
    assert [window.at for window in again] == sorted(window.at for window in again)
    assert again[-1].at == 1699.0, "the newest window is kept"


def test_windows_put_back_are_dropped_where_600_newer_ones_wait(classifier):
    windows = Windows("replica-1")
    windows.counts(1, classifier).answers.append((0.001, None, ""))
    windows.rotate(100.0, last=True)
    old = windows.drain()
    for second in range(600):
        windows.counts(1, classifier).answers.append((0.001, None, ""))
        windows.rotate(float(1000 + second), last=True)
    windows.put_back(old)
    kept = windows.drain()
    assert (len(kept), kept[-1].at) == (600, 1598.0), "it was the newest that went"


def test_answers_beyond_the_rows_that_are_named_cost_nothing(classifier):
    probabilities = np.tile(classifier.samples.outputs["probabilities"][:1], (60, 1))
    beyond = [{"probabilities": None}] * 10  # To look at one would raise an error.
    counted = OutputNames(classifier, classifier).count([{"probabilities": probabilities}, *beyond], 50)
    assert sum(counted.values()) == 50


def test_of_rows_with_many_values_fewer_are_counted_but_one_at_least(tmp_path):
    x, y = tensor("X", "float32", "batch", "length"), tensor("Y", "float32", "batch", "length")
    model = graph([node("Identity", "X", "Y")], [x], [y])
    inputs = {"X": np.ones((2, 3), np.float32)}
    wide = served_from(bundle_of(tmp_path / "wide", model, Signature((x,), (y,)), inputs))
    counted = OutputNames(wide, wide).count([{"Y": np.ones((50, 100), np.float32)}] * 4, 50)
    assert sum(counted.values()) == 50 * 20
    counted = OutputNames(wide, wide).count([{"Y": np.ones((3, 5000), np.float32)}] * 4, 50)
    assert sum(counted.values()) == 5000


def test_classes_are_counted_by_label(classifier):
    probabilities = classifier.samples.outputs["probabilities"]
    expected = [("setosa", "versicolor", "virginica")[at] for at in probabilities.argmax(axis=1)]
    counted = OutputNames(classifier, classifier).count(
        [{"probabilities": probabilities[:4]}, {"probabilities": probabilities[4:]}]
    )
    assert counted == {name: expected.count(name) for name in set(expected)}


def test_values_of_a_candidate_are_counted_in_the_bins_of_live(tmp_path):
    live, candidate = regressor(tmp_path, 1.0, 1), regressor(tmp_path, 2.0, 2)
    values = np.arange(100, dtype=np.float32).reshape(-1, 1)
    same = OutputNames(live, live).count([{"value": values}])
    assert len(same) == 10
    assert set(same.values()) == {10}
    assert OutputNames(candidate, live).count([{"value": values}]) == same
    shifted = OutputNames(candidate, live).count([{"value": values * 2}])
    assert shifted["bin 9"] > 50


def test_outputs_are_counted_while_the_live_version_is_still_loading(tmp_path):
    first = regressor(tmp_path, 1.0, 1)
    windows = Windows("replica-1")
    windows.live_of = lambda _name: ServedVersion("model", 2, "sha256:2")
    windows.counts(2, first).answers.append((0.001, {"value": np.array([[50.0]], np.float32)}, ""))
    windows.rotate(time.time(), last=True)
    (window,) = windows.drain()
    assert sum(window.outputs.values()) == 1


def test_a_promoted_version_and_its_next_candidate_are_counted_in_its_own_bins(tmp_path):
    first, second, third = (regressor(tmp_path, scale, at) for at, scale in ((1, 1.0), (2, 2.0), (3, 2.0)))
    windows = Windows("replica-1")
    windows.live_of = lambda _name: first
    values = np.arange(100, dtype=np.float32).reshape(-1, 1) * 2
    assert windows.names(second).count([{"value": values}])["bin 9"] > 50
    windows.live_of = lambda _name: second
    beside = windows.names(third).count([{"value": values}])
    assert windows.names(second).count([{"value": values}]) == beside
    assert set(beside.values()) == {10}


@pytest.mark.slow
def test_output_buckets_do_not_keep_a_version_in_memory(tmp_path):
    windows = Windows("replica-1")
    served = regressor(tmp_path, 1.0, 1)
    windows.names(served)
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
    counted = OutputNames(served, served).count([{name: rows} for rows in (wide, narrow, nothing)])
    assert sum(counted.values()) == (10 if name == "value" else 6), "values, or the first of each row"


def test_outputs_that_cannot_be_named_do_not_stop_other_windows(classifier, tmp_path, caplog):
    windows = Windows("replica-1")
    other = regressor(tmp_path, 1.0, 1)
    for _ in range(2):
        windows.counts(1, other).answers.append((0.001, {"value": np.array([["no number"]])}, ""))
        windows.counts(1, classifier).answers.append((0.001, classifier.samples.outputs, ""))
        windows.rotate(time.time(), last=True)
    assert [(window.requests, bool(window.outputs)) for window in windows.drain()] == [
        (1, False),
        (1, True),
    ] * 2
    assert len(caplog.records) == 1, "logged once"


def test_nan_is_counted_as_nan(tmp_path):
    live = regressor(tmp_path, 1.0, 1)
    assert OutputNames(live, live).count([{"value": np.array([[np.nan], [50.0]], np.float32)}])["nan"] == 1


def test_an_answer_added_late_to_a_second_is_counted_with_it(classifier):
    windows = Windows("replica-1")
    counts = windows.counts(1, classifier)
    counts.answers.append((0.001, None, ""))
    windows.rotate(time.time())
    assert windows.drain() == [], "a thread may still hold the counts"
    counts.answers.append((0.001, None, ""))
    windows.rotate(time.time())
    (window,) = windows.drain()
    assert window.requests == 2
