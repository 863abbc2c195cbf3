"""The drift test of one column: fair bets, alarms that hold, states that resume."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest

from lading.errors import UsageError
from lading.monitor.drift import (
    MOST_PER_WINDOW,
    ColumnReference,
    DriftState,
    Process,
    advance,
    log_rising,
    restart,
)
from lading.monitor.experts import experts_of

HOUR_S = 3600.0
BINS = ColumnReference((20, 0, *[98] * 10), ordered=True)
CATEGORIES = ColumnReference((0, 0, 500, 300, 150, 50), ordered=False)


def counts(rng, shares, rows=200):
    return rng.multinomial(rows, np.asarray(shares) / np.sum(shares)).tolist()


def hours(state, reference, shares, number, *, start=0, rng=None, rows=200):
    rng = rng or np.random.default_rng(start)
    for hour in range(start, start + number):
        state = advance(state, reference, counts(rng, shares, rows), hour * HOUR_S, HOUR_S)
    return state


def test_the_logarithm_of_a_rising_product_is_exact():
    start = np.array([0.5, 0.5, 3.25, 7.0, 900.5, 1e6])
    count = np.array([0.0, 4.0, 1.0, 12.0, 33.0, 500.0])
    exact = [math.lgamma(a + b) - math.lgamma(a) for a, b in zip(start, count, strict=True)]
    assert log_rising(start, count) == pytest.approx(exact, abs=1e-7)


@pytest.mark.parametrize("reference", [CATEGORIES, ColumnReference((3, 0, 2, 4), ordered=True)])
def test_a_bet_wins_nothing_on_average_if_rows_are_drawn_like_the_reference(reference):
    experts, rows = experts_of(reference), 4
    cells = len(reference.counts)
    windows = np.array(
        [window for window in itertools.product(range(rows + 1), repeat=cells) if sum(window) == rows],
        np.float64,
    )
    masses = np.tile(reference.masses(), (len(windows), 1))
    # The chance of each window under the Polya urn that starts with the reference.
    ways = [math.factorial(rows) / math.prod(math.factorial(int(n)) for n in window) for window in windows]
    log_chance = log_rising(masses, windows).sum(axis=1) - log_rising(masses.sum(axis=1), np.float64(rows))
    chance = np.exp(log_chance) * ways
    assert chance.sum() == pytest.approx(1)

    process = Process.start(experts, len(windows), HOUR_S)
    process.dispersion.mean[:] = 1.0
    process.dispersion.windows = 10**6  # Nothing is tempered: the bets are as they are.
    process.step(experts, windows, 0.0, HOUR_S)
    assert chance @ np.exp(process.log_e()) <= 1 + 1e-9
    assert np.exp(process.log_e()).max() > 1.0005


def test_a_state_that_is_stored_after_each_window_is_as_one_that_never_was():
    rng = np.random.default_rng(3)
    windows = [counts(rng, BINS.counts) for _ in range(70)]
    process = Process.start(experts_of(BINS), 1, 600.0)
    state = DriftState.start(BINS, 600.0)
    for at, window in enumerate(windows):
        process.step(experts_of(BINS), np.array([window], np.float64), at * 600.0, 600.0)
        state = advance(state, BINS, window, at * 600.0, 600.0)
        state = msgspec.json.decode(msgspec.json.encode(state), type=DriftState)
    assert state == process.state()


def test_a_shift_after_weeks_raises_an_alarm_that_names_its_beginning():
    state = hours(DriftState.start(BINS), BINS, BINS.counts, 300)
    assert state.log_e < 0
    tilted = np.array(BINS.counts) * np.array([1, 1, *np.linspace(0.5, 1.5, 10)])
    state = hours(state, BINS, tilted, 24, start=300)
    assert state.log_e > math.log(2000)
    assert state.peak_log_e >= state.log_e
    assert state.began_at == pytest.approx(300 * HOUR_S, abs=5 * HOUR_S)


@pytest.mark.slow
def test_a_new_category_and_missing_values_raise_alarms():
    known = hours(DriftState.start(CATEGORIES), CATEGORIES, CATEGORIES.counts, 300)
    for cell in (0, 1):
        shares = np.array(CATEGORIES.counts, np.float64)
        shares[cell] = 60
        assert hours(known, CATEGORIES, shares, 24, start=300).log_e > math.log(2000)


def test_a_single_window_raises_no_alarm_and_neither_do_the_first_hours():
    state = hours(DriftState.start(BINS), BINS, BINS.counts, 300)
    strange = [0, 0, *[0] * 9, 200]
    once = advance(state, BINS, strange, 300 * HOUR_S, HOUR_S)
    assert state.log_e < once.log_e < MOST_PER_WINDOW
    shifted = np.array(BINS.counts) * np.array([1, 1, *np.linspace(0.5, 1.5, 10)])
    assert hours(DriftState.start(BINS), BINS, shifted, 4).log_e < 1


@pytest.mark.slow
def test_the_sampling_error_of_a_small_reference_is_no_drift():
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(8):
        shares = np.array([0, 0, 0.4, 0.3, 0.2, 0.1])
        reference = ColumnReference(tuple(counts(rng, shares, 300)), ordered=False)
        state = DriftState.start(reference)
        for day in range(25):
            state = advance(state, reference, counts(rng, shares, 5000), day * 86400.0, 86400.0)
        alarms += state.peak_log_e > math.log(100)
    # A test that took the reference for the truth would alarm in nearly all: 200,000 rows against 300.
    assert alarms == 0


@pytest.mark.slow
def test_hours_that_resemble_each_other_are_not_taken_for_drift():
    rng = np.random.default_rng(8)
    scores = np.array([0, 0, *np.linspace(-1.5, 1.5, 10)])
    state, effect = DriftState.start(BINS), 0.0
    for hour in range(600):
        effect = 0.9 * effect + 0.436 * rng.normal()
        mean = 0.3 * effect + 0.4 * math.sin(2 * math.pi * hour / 24)
        window = counts(rng, np.array(BINS.counts) * np.exp(mean * scores))
        state = advance(state, BINS, window, hour * HOUR_S, HOUR_S)
    assert state.peak_log_e < math.log(100)
    assert state.log_e > -10  # What is still to be staked is never lost.


@pytest.mark.slow
def test_a_season_is_compared_with_the_same_hours_of_former_weeks():
    rng = np.random.default_rng(8)
    scores = np.array([0, 0, *np.linspace(-1.5, 1.5, 10)])
    plain = weekly = DriftState.start(BINS)
    past: list[list[int]] = []
    for hour in range(168 * 6 + 24):
        mean = 0.8 * math.sin(2 * math.pi * hour / 24) + (0.4 if hour >= 168 * 6 else 0)
        past.append(counts(rng, np.array(BINS.counts) * np.exp(mean * scores)))
        plain = advance(plain, BINS, past[-1], hour * HOUR_S, HOUR_S)
        if hour >= 336:
            before = np.sum([past[hour - 168 * week] for week in range(1, min(hour // 168, 4) + 1)], axis=0)
            weekly = advance(weekly, BINS, past[-1], hour * HOUR_S, HOUR_S, before.tolist())
        if hour == 168 * 6 - 1:
            assert plain.peak_log_e < math.log(100)
            assert weekly.peak_log_e < math.log(100)
    assert weekly.log_e > math.log(2000)
    assert plain.log_e < math.log(100)


def test_windows_without_rows_or_with_too_few_former_ones_change_nothing():
    state = hours(DriftState.start(BINS), BINS, BINS.counts, 3)
    assert advance(state, BINS, [0] * 12, 9 * HOUR_S, HOUR_S) == state
    window = counts(np.random.default_rng(0), BINS.counts)
    assert advance(state, BINS, window, 9 * HOUR_S, HOUR_S, same_hours=[1] * 12) == state


def test_a_restarted_test_remembers_the_dispersion_alone():
    state = hours(DriftState.start(BINS), BINS, BINS.counts, 50)
    again = restart(state, BINS)
    assert (again.mean, again.windows, again.usual_rows) == (state.mean, state.windows, state.usual_rows)
    assert again.log_e == again.elapsed_s == 0
    assert again.urn == DriftState.start(BINS).urn


def test_counts_of_other_cells_are_refused():
    with pytest.raises(UsageError, match="expected counts of 12 cells, found 3"):
        advance(DriftState.start(BINS), BINS, [1, 2, 3], 0.0, HOUR_S)
