"""Decay by slice."""

from __future__ import annotations

import numpy as np
import pytest

from lading.monitor.slices import BASELINE_ROWS, SliceState, advance, alarm_of

HOUR_S, ROWS = 3600.0, 200


def hours(states, accuracies, number, *, start=0, reference=None):
    rng = np.random.default_rng(start)
    for hour in range(start, start + number):
        right = {name: int(rng.binomial(ROWS, accuracy)) for name, accuracy in accuracies.items()}
        windows = {name: (ROWS - hits, hits) for name, hits in right.items()}
        states = advance(states, windows, hour * HOUR_S, HOUR_S, reference)
    return states


@pytest.mark.slow
def test_the_slice_that_became_worse_alarms_and_no_other():
    usual = {"country=KR": 0.9, "country=DE": 0.7, "country=US": 0.95}
    states = hours({}, usual, 150)
    assert alarm_of(states) == {}
    states = hours(states, usual | {"country=DE": 0.5}, 48, start=150)
    assert list(alarm_of(states)) == ["country=DE"]


def test_a_slice_without_a_reference_is_compared_with_its_first_rows():
    states = advance({}, {"a": (30, 70)}, 0.0, HOUR_S)
    assert states["a"] == SliceState(None, 30, 70)
    assert states["a"].log_e == 0
    states = advance(states, {"a": (30, BASELINE_ROWS - 130)}, HOUR_S, HOUR_S)
    assert states["a"].test.reference_accuracy == 0.7


def test_a_slice_of_the_reference_is_tested_from_its_first_row():
    states = advance({}, {"a": (1, 9), "b": (1, 9)}, 0.0, HOUR_S, {"a": (100, 900), "b": (1, 9)})
    assert states["a"].test.wrong == 1
    assert states["b"].test is None
