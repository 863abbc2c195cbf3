"""How far two profiles are apart, whatever their cells are."""

from __future__ import annotations

import numpy as np
import pytest

from lading.profile.compare import column_shift, profile_differences
from lading.profile.measure import measure
from lading.signature import Signature, Tensor

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=4000)


def column(values):
    array = np.asarray(values)
    kind = "string" if array.dtype == object else array.dtype.name
    signature = Signature((Tensor(name="x", dtype=kind, shape=("batch",)),), ())
    return measure(signature, {"x": array}).inputs[0]


def test_two_halves_of_the_same_data_hardly_differ():
    assert column_shift(column(NORMAL[:2000]), column(NORMAL[2000:])) < 0.05
    assert column_shift(column(NORMAL), column(NORMAL)) == 0


@pytest.mark.parametrize(("by", "share"), [(0.5, 0.197), (1.0, 0.383), (20.0, 1.0)])
def test_a_shift_is_the_share_of_rows_that_moved(by, share):
    # Kolmogorov's distance of two normal distributions.
    assert column_shift(column(NORMAL), column(NORMAL + by)) == pytest.approx(share, abs=0.04)


def test_a_new_category_is_the_share_that_it_has():
    old = np.array(["a"] * 80 + ["b"] * 20, object)
    new = np.array(["a"] * 60 + ["b"] * 20 + ["c"] * 20, object)
    assert column_shift(column(old), column(new)) == pytest.approx(0.2)


def test_missing_values_count():
    gaps = np.where(np.arange(4000) < 1000, np.nan, NORMAL)
    assert column_shift(column(NORMAL), column(gaps)) == pytest.approx(0.25)


def test_columns_of_other_kinds_have_nothing_in_common():
    assert column_shift(column(NORMAL), column(np.repeat([1.0, 2.0], 50))) == 1


def test_columns_of_one_profile_only_come_first():
    both = Tensor(name="x", dtype="float64", shape=("batch",))
    old = measure(Signature((both,), ()), {"x": NORMAL})
    wide = Signature((both, Tensor(name="z", dtype="float64", shape=("batch",))), ())
    new = measure(wide, {"x": NORMAL, "z": NORMAL})
    first, second = profile_differences(old, new)
    assert (first.name, first.shift, first.old) == ("z", 1.0, None)
    assert (second.name, second.shift) == ("x", 0.0)
