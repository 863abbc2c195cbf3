"""Distances for people."""

from __future__ import annotations

import numpy as np
import pytest

from lading.monitor.distances import expected_psi, jensen_shannon, psi


def test_equal_shares_are_no_distance_apart_and_different_ones_are_as_by_definition():
    assert psi([100, 300], [10_000, 30_000]) == pytest.approx(0, abs=1e-4)
    assert psi([50_000, 50_000], [60_000, 40_000]) == pytest.approx(
        0.1 * np.log(1.2) - 0.1 * np.log(0.8), abs=1e-4
    )
    assert jensen_shannon([1, 3], [10, 30]) == pytest.approx(0, abs=1e-7)
    assert jensen_shannon([5, 0], [0, 9]) == 1


def test_rows_like_the_reference_have_the_expected_psi_on_average():
    rng = np.random.default_rng(0)
    reference = [0, 0, *[1000] * 10]
    drawn = rng.multinomial(500, np.array(reference) / 10_000, size=300)
    mean = np.mean([psi(reference, window) for window in drawn.tolist()])
    assert mean == pytest.approx(expected_psi(reference, 500), rel=0.2)
    assert expected_psi(reference, 500) == pytest.approx(9 / 500 + 9 / 10_000)
