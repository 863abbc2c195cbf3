"""The alternatives that the drift test bets on."""

from __future__ import annotations

import numpy as np
import pytest

from lading.monitor.experts import ColumnReference, experts_of, experts_of_errors, normal_scores
from lading.profile import ColumnProfile

BINS = ColumnReference((20, 0, *[98] * 10), ordered=True)


def test_masses_are_gaps_between_values_of_the_reference():
    assert BINS.masses().tolist() == [20.5, 0.5, *[98] * 9, 99]
    assert ColumnReference((0, 1, 7), ordered=False).masses().tolist() == [0.5, 1.5, 7.5]


def test_a_profile_says_whether_cells_are_in_order():
    column = ColumnProfile(tensor="x", name="x", kind="number", counts=(0, 0, 5, 5), bounds=(1.0,))
    assert ColumnReference.of(column) == ColumnReference((0, 0, 5, 5), ordered=True)
    column = ColumnProfile(tensor="x", name="x", kind="category", counts=(0, 0, 5, 5), values=("a", "b"))
    assert ColumnReference.of(column) == ColumnReference((0, 0, 5, 5), ordered=False)


@pytest.mark.parametrize("reference", [BINS, ColumnReference((1, 0, 50, 9), ordered=False)])
def test_scores_have_mean_0_and_shares_of_the_stake_add_up(reference):
    experts = experts_of(reference)
    shares = experts.masses / experts.masses.sum()
    assert shares @ experts.scores == pytest.approx(0, abs=1e-12)
    assert shares @ experts.scores**2 == pytest.approx(experts.variance)
    assert experts.stakes.sum() == pytest.approx(1)
    assert len(experts.stakes) == experts.presence.tilts.shape[1] + experts.values.tilts.shape[1]


def test_normal_scores_are_means_between_quantiles():
    assert normal_scores(np.array([1.0, 1.0])) == pytest.approx([-0.7979, 0.7979], abs=1e-4)
    assert normal_scores(np.array([5.0])).tolist() == [0.0]
    assert (np.diff(normal_scores(np.full(10, 3.0))) > 0).all()


def test_a_shift_of_normal_values_is_what_location_bets_on():
    # Tilting by 0.5 times the scores is a shift of 0.5 standard deviations, but for the width of bins.
    experts = experts_of(ColumnReference((0, 0, *[500] * 20), ordered=True))
    top = 0.5 * experts.scores[-1, experts.names.index("location")]
    at = next(at for at, tilt in enumerate(experts.values.tilts.T) if np.isclose(tilt[-1], top))
    tilted = experts.masses[2:] * experts.values.raised[:, at]
    mean = tilted / tilted.sum() @ experts.scores[2:, experts.names.index("location")]
    assert mean == pytest.approx(0.5, abs=0.02)


def test_only_the_largest_categories_have_experts_of_their_own():
    many = experts_of(ColumnReference((0, 0, *range(10, 110)), ordered=False))
    assert many.names[:3] == ("cell 0", "cell 1", "cell 82")
    assert len(many.names) == 22


def test_experts_of_errors_bet_on_more_wrong_answers_alone():
    experts = experts_of_errors(10, 90)
    assert (experts.values.tilts[0] > 0).all()
    assert (experts.values.tilts[1] == 0).all()
    assert experts.presence.tilts.shape == (3, 0)


def test_a_column_with_a_single_bin_is_watched_for_missing_and_unseen_values():
    assert experts_of(ColumnReference((0, 0, 100), ordered=True)).names == ("cell 0", "cell 1")
