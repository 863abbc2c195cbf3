"""Accuracy without labels: isotonic calibration and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import UsageError
from lading.monitor.estimated import estimate_accuracy, isotonic
from lading.profile import Calibration

RATES = np.array([0.55, 0.65, 0.75, 0.85, 0.95])
CALIBRATION = Calibration((0, 0, *[200] * 5), (0, 0, *(200 * RATES).astype(int)))


def test_rates_never_fall_and_pooled_bins_share_one():
    rates, groups = isotonic(np.array([10.0, 10, 10, 0, 10]), np.array([5.0, 8, 6, 0, 9]), 0.7)
    assert rates == pytest.approx([0.5, 0.7, 0.7, 0.7, 0.9])
    assert groups.tolist() == [0, 1, 1, 1, 2]
    assert isotonic(np.zeros(2), np.zeros(2), 0.7)[0].tolist() == [0.7, 0.7]


def test_rows_in_the_bins_of_the_reference_have_its_accuracy_and_unsure_ones_less():
    assert estimate_accuracy(CALIBRATION, [0, 0, *[50] * 5]).accuracy == pytest.approx(0.75)
    assert estimate_accuracy(CALIBRATION, [0, 0, 100, 0, 0, 0, 0]).accuracy == pytest.approx(0.55)


def test_a_confidence_that_is_missing_says_as_much_as_the_whole():
    assert estimate_accuracy(CALIBRATION, [5, 5, 0, 0, 0, 0, 0]).accuracy == pytest.approx(0.75)


def test_the_interval_covers_what_chance_does():
    rng = np.random.default_rng(2)
    hits, runs = 0, 500
    mix = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    for _ in range(runs):
        reference = rng.multinomial(300, [0.2] * 5)
        right = rng.binomial(reference, RATES)
        live = rng.multinomial(400, mix)
        true = rng.binomial(live, RATES).sum() / 400
        estimate = estimate_accuracy(Calibration((0, 0, *reference), (0, 0, *right)), [0, 0, *live])
        hits += estimate.low <= true <= estimate.high
    assert 0.92 < hits / runs < 0.985


def test_more_rows_make_it_narrower_down_to_what_the_reference_leaves():
    few, many = (estimate_accuracy(CALIBRATION, [0, 0, *[n] * 5]) for n in (5, 5000))
    assert few.high - few.low > 3 * (many.high - many.low)
    assert many.high - many.low > 0.03


def test_without_rows_nothing_is_estimated_and_other_cells_are_refused():
    assert estimate_accuracy(CALIBRATION, [0] * 7) is None
    assert estimate_accuracy(Calibration((0, 0, 0), (0, 0, 0)), [0, 0, 5]) is None
    with pytest.raises(UsageError, match="expected counts of 7 cells, found 2"):
        estimate_accuracy(CALIBRATION, [1, 2])
