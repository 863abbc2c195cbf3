"""Decay by labels: alarms, intervals, states."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from lading.errors import UsageError
from lading.monitor.decay import DecayState, advance, bernoulli_interval, interval

HOUR_S = 3600.0


def hours(state, accuracy, number, *, start=0, seed=1, rows=100):
    rng = np.random.default_rng(seed)
    for hour in range(start, start + number):
        right = int(rng.binomial(rows, accuracy))
        state = advance(state, rows - right, right, hour * HOUR_S, HOUR_S)
    return state


def test_a_model_that_is_as_good_or_better_does_not_decay():
    start = DecayState.start(900, 1000)
    assert hours(start, 0.9, 150).test.peak_log_e < math.log(100)
    assert hours(start, 0.97, 150).test.peak_log_e < math.log(100)


def test_a_model_that_becomes_worse_decays_and_the_beginning_is_named():
    state = hours(DecayState.start(900, 1000), 0.9, 200)
    state = hours(state, 0.75, 48, start=200, seed=2)
    assert state.log_e > math.log(100)
    assert state.began_at == pytest.approx(200 * HOUR_S, abs=12 * HOUR_S)
    assert state.reference_accuracy == 0.9
    assert state.accuracy == pytest.approx(0.871, abs=0.01)


def test_a_state_survives_being_stored():
    state = hours(DecayState.start(90, 100), 0.9, 30)
    stored = msgspec.json.decode(msgspec.json.encode(state), type=DecayState)
    assert hours(stored, 0.8, 5, start=30) == hours(state, 0.8, 5, start=30)
    assert advance(state, 0, 0, 0.0, HOUR_S) == state


def test_a_stated_accuracy_without_rows_counts_as_exact():
    assert DecayState.start_from_accuracy(0.9).reference_accuracy == pytest.approx(0.9)
    with pytest.raises(UsageError, match="from 0 to 1, found 90"):
        DecayState.start_from_accuracy(90)


@pytest.mark.slow
def test_the_interval_holds_at_all_times_together():
    rng = np.random.default_rng(3)
    misses = 0
    for _ in range(100):
        right = (rng.random(1000) < 0.85).cumsum()
        looks = [10, 100, 300, 1000]
        bounds = [bernoulli_interval(right[n - 1], n - right[n - 1], 0.05) for n in looks]
        misses += any(not low <= 0.85 <= high for low, high in bounds)
    assert misses <= 0.05 * 100
    low, high = bernoulli_interval(850, 150, 0.05)
    assert 0.8 < low < 0.85 < high < 0.9
    assert bernoulli_interval(20, 0, 0.05)[1] == 1


def test_the_interval_of_hours_that_differ_is_wider():
    state = hours(DecayState.start(900, 1000), 0.9, 100)
    low, high = interval(state)
    independent = bernoulli_interval(state.right, state.wrong, 0.05)
    assert low < independent[0] < 0.9 < independent[1] < high
    assert interval(DecayState.start(9, 10)) == (0.0, 1.0)
