"""What windows teach about each other: by how much evidence is divided."""

from __future__ import annotations

import numpy as np
import pytest

from lading.monitor.dispersion import EFFECT, Dispersion, levels_for, windows_per_block

COLUMNS = 50
ROWS = np.full(COLUMNS, 200.0)


def taught(effect=0.0, memory=0.0, *, windows=512, window_s=3600.0, step=0.0):
    """Return what windows with an effect teach, for some columns with a score of variance 1."""
    rng = np.random.default_rng(1)
    dispersion = Dispersion.start(COLUMNS, 1, window_s)
    state = rng.normal(size=COLUMNS)
    for window in range(windows):
        state = memory * state + np.sqrt(1 - memory**2) * rng.normal(size=COLUMNS)
        mean = effect * state + (step if window >= windows // 2 else 0)
        sums = 200 * mean + np.sqrt(200) * rng.normal(size=COLUMNS)
        dispersion.add(sums[:, None], ROWS, np.ones(1), np.full(1, np.nan))
    return float(np.median(dispersion.factors(ROWS)))


def test_hours_are_believed_to_differ_before_anything_is_learnt():
    fresh = Dispersion.start(COLUMNS, 1, 3600.0)
    assert fresh.factors(ROWS).min() > 200 * EFFECT**2
    # What a thousand times as many rows say together is not a thousand times as much.
    assert fresh.factors(1000 * ROWS).min() > 800 * fresh.factors(ROWS).min()


def test_longer_blocks_count_as_time_goes_on_until_there_are_pairs_of_them():
    assert taught(windows=1) < taught(windows=5)
    assert taught(windows=16) > taught(windows=64)


def test_quiet_hours_of_many_rows_soon_contradict_the_belief():
    quiet = Dispersion.start(COLUMNS, 1, 3600.0)
    rng, rows = np.random.default_rng(4), np.full(COLUMNS, 20_000.0)
    believed = quiet.factors(rows).min()
    for _ in range(24):
        sums = np.sqrt(rows) * rng.normal(size=COLUMNS)
        quiet.add(sums[:, None], rows, np.ones(1), np.full(1, np.nan))
    assert np.median(quiet.factors(rows)) < believed / 5


@pytest.mark.slow
def test_independent_rows_soon_count_in_full():
    assert 2.5 > taught(windows=1024) < taught(windows=256) < taught(windows=64) < 200


def test_effects_of_hours_divide_by_their_long_run_variance_or_more():
    # 1 + 200 · 0.3² · (1 + 0.8) / (1 - 0.8)
    assert 163 < taught(0.3, 0.8) < 4 * 163
    assert 19 < taught(0.3) < 2.5 * 19


def test_a_change_that_stays_is_no_dispersion():
    assert taught(step=0.5, windows=512) < 2.5 * taught(windows=512)


def test_an_unusually_large_window_counts_for_less():
    dispersion = Dispersion.start(COLUMNS, 1, 3600.0)
    dispersion.add(np.zeros((COLUMNS, 1)), ROWS, np.ones(1), np.full(1, np.nan))
    usual = dispersion.factors(ROWS)
    assert dispersion.factors(10 * ROWS) == pytest.approx(1 + 10 * (usual - 1))


def test_a_cell_that_became_frequent_is_no_dispersion():
    rng = np.random.default_rng(2)
    dispersion = Dispersion.start(COLUMNS, 1, 3600.0)
    for _ in range(256):
        sums = rng.binomial(200, 0.05, size=(COLUMNS, 1)) - 200 * 1e-4
        dispersion.add(sums, ROWS, np.full(1, 1e-4), np.full(1, 1e-4))
    assert np.median(dispersion.factors(ROWS)) < 8


@pytest.mark.parametrize(
    ("window_s", "block", "levels"), [(3600, 1, 8), (60, 60, 8), (86400, 1, 3), (10, 360, 8)]
)
def test_blocks_are_an_hour_at_least_and_a_week_at_most(window_s, block, levels):
    assert windows_per_block(window_s) == block
    assert levels_for(window_s) == levels


def test_short_windows_teach_what_the_hours_they_make_up_do():
    rng = np.random.default_rng(3)
    hourly, by_quarter = Dispersion.start(1, 1, 3600.0), Dispersion.start(1, 1, 900.0)
    for sums in rng.normal(size=(64, 4)):
        hourly.add(sums.sum()[None, None], np.array([80.0]), np.ones(1), np.full(1, np.nan))
        for part in sums:
            by_quarter.add(part[None, None], np.array([20.0]), np.ones(1), np.full(1, np.nan))
    assert by_quarter.mean == pytest.approx(hourly.mean)
    assert by_quarter.factors(np.array([20.0])) == pytest.approx(hourly.factors(np.array([80.0])))
