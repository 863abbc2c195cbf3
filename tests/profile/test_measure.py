from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from lading.profile import MISSING, UNSEEN
from lading.profile.columns import tensors_of
from lading.profile.encoding import broken_rules, decode, encode
from lading.profile.live import LiveCounts
from lading.profile.measure import Batch, measure, measure_batches
from lading.signature import Signature, Tensor

PROBABILITIES = Tensor(name="probabilities", dtype="float32", shape=("batch", 2), columns=("no", "yes"))


def column_of(values, dtype=None):
    """Return the profile of one column, which is that of a bundle as well, and of the same live rows."""
    array = np.asarray(values)
    kind = "string" if array.dtype == object else array.dtype.name
    signature = Signature((Tensor(name="x", dtype=dtype or kind, shape=("batch",)),), (PROBABILITIES,))
    profile = measure(signature, {"x": array})
    assert list(broken_rules(profile, signature)) == []
    assert decode(encode(profile)) == profile
    live = LiveCounts(profile, signature)
    live.add({"x": array}, {}, len(array))
    assert live.drain() == tuple(column.counts for column in profile)
    return profile.inputs[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_are_binned_by_quantiles(dtype):
    values = np.random.default_rng(0).normal(size=1000).astype(dtype)
    column = column_of(values)
    assert column.kind == "number"
    assert len(column.bounds) == 19
    assert column.rows == 1000
    assert max(column.counts) - min(column.counts[2:]) < 10
    assert column.minimum == values.min()
    assert column.maximum == values.max()
    assert column.mean == pytest.approx(values.astype(float).mean())
    assert column.deviation == pytest.approx(values.astype(float).std())


def test_few_integers_are_categories_and_many_are_bins():
    column = column_of(np.random.default_rng(0).integers(1, 6, 1000))
    assert column.kind == "integer"
    assert column.values == (1.0, 2.0, 3.0, 4.0, 5.0)
    column = column_of(np.random.default_rng(0).integers(0, 500, 1000))
    assert column.kind == "integer"
    assert len(column.bounds) == 19


def test_integers_of_few_rows_each_are_bins_and_not_mostly_unseen():
    column = column_of(np.arange(150) % 16)
    assert column.is_binned
    assert column.counts[UNSEEN] == 0


def test_a_rare_integer_is_unseen():
    column = column_of(np.array([0] * 500 + [1] * 495 + [7] * 5))
    assert column.values == (0.0, 1.0)
    assert column.counts == (0, 5, 500, 495)


def test_huge_integers_are_measured():
    column = column_of(np.array([2**63 - 1, -(2**63), 0, 2**53 + 1] * 50))
    assert column.minimum == -(2.0**63)
    assert column.counts[2:] == (50, 50, 50, 50)
    column_of(np.arange(2**62, 2**62 + 1000, dtype=np.int64))
    column_of(np.full(100, 2**64 - 1, np.uint64))


def test_huge_floats_have_no_mean_that_is_not_finite():
    column = column_of(np.array([1.7e308, 1.6e308, 1.5e308, -1.7e308] * 10))
    assert column.maximum == 1.7e308
    assert column.deviation is None
    signature = Signature((Tensor(name="x", dtype="float64", shape=("batch",)),), ())
    parts = [Batch({"x": np.full(20, number)}) for number in (1.5, 1e300, -1e300)]
    column = measure_batches(signature, lambda: parts, 60).inputs[0]
    assert column.minimum == -1e300
    assert column.deviation is None


def test_a_constant_column_shows_any_other_value():
    column = column_of(np.full(100, 0.5, np.float32))
    assert column.values == (0.5,)
    assert column.counts == (0, 0, 100)
    assert column.deviation == 0


def test_a_column_that_is_always_missing_has_no_extremes():
    column = column_of(np.full(50, np.nan, np.float32))
    assert column.counts == (50, 0, 0)
    assert column.minimum is None
    assert column.mean is None
    column = column_of(np.array([""] * 50, object))
    assert column.missing == 50


def test_missing_and_infinite_values_are_counted_apart():
    values = np.random.default_rng(0).normal(size=200)
    values[:30] = np.nan
    values[30:40] = np.inf
    values[40:45] = -np.inf
    column = column_of(values)
    assert column.counts[MISSING] == 30
    assert column.counts[UNSEEN] == 15
    assert np.isfinite([column.minimum, column.maximum, column.mean]).all()


def test_a_column_of_mostly_zeros_has_no_empty_bin():
    random = np.random.default_rng(0)
    values = np.where(random.random(2000) < 0.93, 0.0, random.exponential(size=2000))
    column = column_of(values)
    assert column.bounds[0] == 0
    assert min(column.counts[2:]) > 0


def test_one_row_and_few_rows_are_measured():
    assert column_of(np.array([1.5])).counts == (0, 0, 1)
    assert column_of(np.array([1.5])).bounds == ()
    assert len(column_of(np.random.default_rng(0).normal(size=150)).bounds) == 14


def test_booleans_have_both_values():
    column = column_of(np.array([True] * 30))
    assert column.kind == "boolean"
    assert column.values == (False, True)
    assert column.counts == (0, 0, 0, 30)


def test_texts_that_repeat_are_categories_and_rare_ones_are_not_kept():
    texts = ["Oslo"] * 500 + ["Rome"] * 400 + ["Bonn"] * 9 + [""] * 50
    column = column_of(np.array(texts, object))
    assert column.kind == "category"
    assert column.values == ("Oslo", "Rome")
    assert column.counts == (50, 9, 500, 400)
    assert b"Bonn" not in encode(measure_one(texts))


def measure_one(texts):
    signature = Signature((Tensor(name="x", dtype="string", shape=("batch",)),), ())
    return measure(signature, {"x": np.array(texts, object)})


def test_of_other_texts_only_lengths_are_kept():
    texts = [f"customer {at}" for at in range(1000)]
    column = column_of(np.array(texts, object))
    assert column.kind == "text"
    assert column.maximum == len("customer 999")
    assert b"customer" not in encode(measure_one(texts))
    column = column_of(np.array([f"{at:08d}" for at in range(1000)], object))
    assert column.kind == "text"
    assert column.values == (8.0,)


def test_dates_and_times_with_zones_are_times():
    texts = [f"2024-01-{at % 28 + 1:02d}T10:00:00{zone}" for at, zone in enumerate(["Z", "+02:00", ""] * 40)]
    column = column_of(np.array(texts, object))
    assert column.kind == "timestamp"
    assert column.minimum == 1704096000.0  # 2024-01-01T08:00:00Z
    assert column.label(2) == f"≤ {column.text(column.bounds[0])}"
    assert column.text(column.minimum) == "2024-01-01 08:00:00"
    assert column_of(np.array(["2024-02-29"] * 30, object)).text(1709164800.0) == "2024-02-29"
    assert column_of(np.array(["20240229"] * 30, object)).kind == "category"


def test_a_text_that_is_no_time_is_unseen_among_times():
    signature = Signature((Tensor(name="x", dtype="string", shape=("batch",)),), ())
    profile = measure(signature, {"x": np.array([f"2024-01-{at:02d}" for at in range(1, 31)], object)})
    live = LiveCounts(profile, signature)
    live.add({"x": np.array(["2024-01-02", "yesterday", "", "2024-99-01"], object)}, {}, 4)
    counts = live.drain()[0]
    assert counts[:2] == (1, 2)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_live_values_fall_into_the_cells_that_they_had_when_they_were_measured(dtype):
    # Decimal fractions are other numbers in each dtype: cells are of those that the model gets.
    values = (np.random.default_rng(0).integers(0, 500, 5000) / 10).astype(dtype)
    column_of(values)


def test_a_profile_has_the_calibration_of_its_labels():
    random = np.random.default_rng(0)
    yes = random.random(5000).astype(np.float32)
    outputs = {"probabilities": np.stack([1 - yes, yes], 1)}
    right = random.random(5000) < np.maximum(yes, 1 - yes)
    signature = Signature((Tensor(name="x", dtype="float32", shape=("batch",)),), (PROBABILITIES,))
    profile = measure(signature, {"x": yes}, outputs, right=right)
    assert list(broken_rules(profile, signature)) == []
    assert profile.accuracy == right.mean()
    confidence = profile.column("confidence of probabilities")
    assert profile.calibration.rows == confidence.counts
    assert sum(profile.calibration.right) == right.sum()
    shares = np.array(profile.calibration.right[2:]) / np.array(profile.calibration.rows[2:])
    assert shares[0] < 0.6
    assert shares[-1] > 0.9


def test_batches_have_the_profile_of_all_rows_at_once():
    random = np.random.default_rng(0)
    x = random.normal(size=3000).astype(np.float32)
    signature = Signature((Tensor(name="x", dtype="float32", shape=("batch",)),), ())
    whole = measure(signature, {"x": x}).inputs[0]
    parts = [Batch({"x": x[at : at + 137]}) for at in range(0, 3000, 137)]
    column = measure_batches(signature, lambda: parts, 3000).inputs[0]
    assert measure_batches(signature, lambda: iter(parts)).inputs[0] == column
    assert column.bounds == whole.bounds
    assert column.counts == whole.counts
    assert column.mean == pytest.approx(whole.mean)
    assert column.deviation == pytest.approx(whole.deviation)


def test_requests_that_failed_have_inputs_and_no_outputs():
    x = np.random.default_rng(0).normal(size=300).astype(np.float32)
    known = Tensor(name="x", dtype="float32", shape=("batch",))
    signature = Signature((known,), (Tensor(name="y", dtype="float32", shape=("batch",)),))
    parts = [
        Batch({"x": x[:100]}, {"y": x[:100]}),
        Batch({"x": x[100:200]}),
        Batch({"x": x[200:]}, {"y": x[200:]}),
    ]
    profile = measure_batches(signature, lambda: parts, source="log")
    assert profile.rows == profile.inputs[0].rows == 300
    assert profile.outputs[0].rows == 200
    assert list(broken_rules(profile, signature)) == []


def test_bounds_of_very_many_rows_are_drawn_evenly_and_all_rows_counted(monkeypatch):
    monkeypatch.setattr("lading.profile.measure._MOST_ROWS", 100)
    x = np.arange(10_000.0)
    signature = Signature((Tensor(name="x", dtype="float64", shape=("batch",)),), ())
    parts = [Batch({"x": x[at : at + 999]}) for at in range(0, 10_000, 999)]
    column = measure_batches(signature, lambda: parts, 10_000).inputs[0]
    assert column.rows == 10_000
    assert set(column.bounds) <= set(x[::100])
    assert min(column.counts[2:]) > 800


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows():
    rows = np.zeros((200_000, 20), np.float32)
    rows += np.random.default_rng(0).random(20)
    signature = Signature((Tensor(name="x", dtype="float32", shape=("batch", 20)),), ())
    tracemalloc.start()
    try:
        measure_batches(signature, lambda: (Batch({"x": rows}) for _ in range(10)), 2_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A million float32 of 20 columns are kept to choose cells.
    assert peak < 200e6


def test_inputs_and_outputs_of_one_name_are_two_columns():
    twice = Tensor(name="x", dtype="float32", shape=("batch",))
    signature = Signature((twice,), (twice,))
    x = np.random.default_rng(0).normal(size=100).astype(np.float32)
    profile = measure(signature, {"x": x}, {"x": x * 2})
    assert profile.outputs[0].maximum == profile.inputs[0].maximum * 2
    assert list(broken_rules(profile, signature)) == []
    assert tensors_of(signature) == {"x": twice}
