"""Changes in words."""

from __future__ import annotations

import numpy as np
import pytest

from lading.monitor.wording import change_of, describe, percent
from lading.profile import ColumnProfile

rng = np.random.default_rng(6)
VALUES = np.sort(rng.normal(size=9999))
BOUNDS = VALUES[499::500]
NUMBER = ColumnProfile(
    tensor="x", name="age", kind="number", counts=(200, 0, *[500] * 19, 499), bounds=tuple(BOUNDS)
)
COLOUR = ColumnProfile(
    tensor="x", name="colour", kind="category", counts=(0, 0, 880, 100, 20), values=("red", "green", "blue")
)


def binned(values, missing=0, unseen=0):
    return [missing, unseen, *np.bincount(np.searchsorted(BOUNDS, values), minlength=20).tolist()]


def test_higher_lower_wider_and_narrower_numbers():
    base = rng.normal(size=5000)
    missing = {"missing": 102}
    assert change_of(NUMBER, binned(base + 0.3, **missing)).size == pytest.approx(0.3, abs=0.05)
    assert describe(NUMBER, binned(base + 0.3, **missing)).startswith("higher by 0.")
    assert describe(NUMBER, binned(base - 0.5, **missing)).startswith("lower by 0.")
    assert describe(NUMBER, binned(base + 50, **missing)) == "higher by at least 2.1 standard deviations"
    assert change_of(NUMBER, binned(base * 1.5, **missing)).aspect == "scale"
    assert describe(NUMBER, binned(base * 1.5, **missing)).startswith("wider: standard deviation 1.")
    assert describe(NUMBER, binned(base * 0.5, **missing)).startswith("narrower: standard deviation 0.")


def test_missing_unseen_and_single_cells():
    base = rng.normal(size=5000)
    assert describe(NUMBER, binned(base, missing=500)) == "missing values: 2 % -> 9.1 %"
    assert describe(NUMBER, binned(base, missing=100, unseen=200)).startswith(
        "values that the reference does not"
    )
    same = np.concatenate([base, np.full(600, VALUES[5100])])
    assert describe(NUMBER, binned(same, missing=100)).startswith("values ")
    assert describe(COLOUR, [0, 0, 810, 100, 90]) == "category `blue`: 2 % -> 9 %"
    assert change_of(COLOUR, [0, 0, 810, 100, 90]).size == pytest.approx(0.07)


def test_one_strange_row_is_not_what_changed():
    assert describe(NUMBER, binned(rng.normal(size=5000) + 0.3, unseen=1, missing=100)).startswith("higher")


def test_without_rows_nothing_changed():
    assert describe(NUMBER, [0] * 22) == ""
    assert change_of(COLOUR, [0] * 5) is None


def test_shares_have_the_digits_they_need():
    assert [percent(share) for share in (0, 0.0004, 0.02, 0.091, 0.5)] == [
        "0 %",
        "0.04 %",
        "2 %",
        "9.1 %",
        "50 %",
    ]
