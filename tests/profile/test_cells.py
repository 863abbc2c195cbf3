from __future__ import annotations

import numpy as np
import pytest

from lading.profile import FIRST, MISSING, UNSEEN, ColumnProfile
from lading.profile.cells import Cells, bins_for, quantile_bounds


def binned(*bounds):
    counts = (0,) * (FIRST + len(bounds) + 1)
    return Cells(ColumnProfile(tensor="x", name="x", kind="number", bounds=bounds, counts=counts))


def categories(kind, *values):
    counts = (0,) * (FIRST + len(values))
    return Cells(ColumnProfile(tensor="x", name="x", kind=kind, values=values, counts=counts))


def test_a_value_at_a_bound_is_in_the_bin_below_it():
    cells = binned(1.0, 2.0)
    values = np.array([0.5, 1.0, 1.5, 2.0, 2.5])
    assert cells.of(values).tolist() == [2, 2, 3, 3, 4]


def test_nan_is_missing_and_an_infinity_unseen():
    values = np.array([np.nan, np.inf, -np.inf, 0.0])
    assert binned(1.0).of(values).tolist() == [MISSING, UNSEEN, UNSEEN, 2]
    assert categories("integer", 0.0).of(values).tolist() == [MISSING, UNSEEN, UNSEEN, 2]


def test_without_bounds_all_that_is_not_missing_is_in_one_cell():
    assert binned().of(np.array([1.0, np.nan, -7.0])).tolist() == [2, MISSING, 2]


def test_categories_are_found_in_the_order_of_the_profile():
    cells = categories("category", "b", "a")
    assert cells.of(np.array(["a", "b", "", "c"], object)).tolist() == [3, 2, MISSING, UNSEEN]
    numbers = categories("integer", 5.0, 1.0)
    assert numbers.of(np.array([1, 5, 3], np.int64)).tolist() == [3, 2, UNSEEN]


@pytest.mark.parametrize("dtype", ["bool", "int8", "float32"])
def test_booleans_are_their_numbers_too(dtype):
    assert categories("boolean", False, True).of(np.array([0, 1], dtype)).tolist() == [2, 3]


def test_counts_have_a_number_for_each_cell():
    assert binned(1.0, 2.0).counts(np.array([0.0])).tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("computed", [False, True])
def test_no_bin_of_the_values_that_chose_the_bounds_is_empty(dtype, computed):
    random = np.random.default_rng(0)
    for draw in (
        random.normal(size=1000) * 20 + 100,
        np.where(random.random(1000) < 0.9, 0, random.integers(0, 100, 1000)),
        random.integers(0, 3, 1000),
        np.repeat(7, 500),
        np.nextafter(np.float32(1), np.float32(2)) * np.ones(50),
    ):
        values = draw.astype(dtype).astype(np.float64)
        bounds = quantile_bounds(values, 20, computed=computed)
        counts = binned(*bounds).counts(values)
        assert (counts[FIRST:] > 0).all()
        assert list(bounds) == sorted(set(bounds))


def test_bounds_are_values_that_occur_and_divide_them_evenly():
    values = np.random.default_rng(0).permutation(np.arange(999.0))
    bounds = quantile_bounds(values, 20)
    assert set(bounds) <= set(values)
    assert set(binned(*bounds).counts(values)[FIRST:]) <= {49, 50}


def test_a_computed_value_that_another_machine_rounds_otherwise_stays_in_its_bin():
    values = np.repeat(np.array([0.1, 0.25, 0.3, 0.9], np.float32), 50).astype(np.float64)
    cells = binned(*quantile_bounds(values, 20, computed=True))
    assert cells.of(values * (1 + 1e-6)).tolist() == cells.of(values).tolist()
    assert cells.of(values * (1 - 1e-6)).tolist() == cells.of(values).tolist()
    # Neighbours stay apart.
    assert len(set(cells.of(values).tolist())) == 4


def test_neighbours_of_the_last_digit_stay_apart():
    values = np.repeat([1.0, np.nextafter(1.0, 2.0)], 20)
    bounds = quantile_bounds(values, 2, computed=True)
    assert binned(*bounds).counts(values).tolist() == [0, 0, 20, 20]


def test_few_rows_get_few_bins():
    assert [bins_for(rows) for rows in (0, 1, 19, 20, 150, 10_000)] == [1, 1, 1, 2, 15, 20]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bins", [0, 1, 19])
def test_many_values_are_counted_as_each_by_itself(dtype, bins):
    rng = np.random.default_rng(bins)
    values = rng.normal(size=(5000, 3)).astype(dtype)[:, 1]
    values[:7] = [np.nan, np.inf, -np.inf, np.nan, np.inf, 0.0, -0.0]
    bounds = np.unique(rng.normal(size=bins))
    values[7 : 7 + bins] = bounds  # On a bound, as far as the dtype holds it.
    column = ColumnProfile(
        tensor="x", name="x", kind="number", counts=(0,) * (bins + 3), bounds=tuple(bounds.tolist())
    )
    cells = Cells(column)
    expected = np.bincount(cells.of(values), minlength=cells.size)
    assert cells.counts(values).tolist() == expected.tolist()
    assert (
        cells.counts(values).tolist()
        == sum(cells.counts(values[at : at + 100]) for at in range(0, 5000, 100)).tolist()
    )


def test_bounds_that_a_small_dtype_does_not_hold_are_where_they_were():
    bounds = (-1e300, 0.1, 0.1 + 1e-12, 1e300)
    column = ColumnProfile(tensor="x", name="x", kind="number", counts=(0,) * 7, bounds=bounds)
    cells = Cells(column)
    for dtype in ("float16", "float32"):
        kind = np.dtype(dtype).type
        near = [np.nextafter(kind(0.1), kind(way)) for way in (-1, 1)]
        values = np.resize(np.array([*near, 0.1, np.finfo(dtype).max, -np.inf, np.inf], dtype), 5000)
        expected = np.bincount(cells.of(values), minlength=cells.size)
        assert cells.counts(values).tolist() == expected.tolist()
