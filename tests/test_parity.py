from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lading.parity import Tolerance, compare
from lading.signature import Tensor

EXACT = Tolerance(rtol=0, atol=0)
KINDS = {"f": "float64", "i": "int64", "u": "uint64", "b": "bool", "O": "string"}


def parity_of(expected, actual, tolerance=EXACT, **options):
    expected, actual = np.asarray(expected), np.asarray(actual)
    tensor = Tensor(name="y", dtype=KINDS[expected.dtype.kind], shape=("batch",))
    return compare([tensor], {"y": expected}, {"y": actual}, tolerance, **options)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([1.0, np.nan], [1.0, np.nan]),
        ([np.inf, -np.inf], [np.inf, -np.inf]),
        ([0.0], [-0.0]),
        ([1, 2], [1, 2]),
        ([True], [True]),
        (np.array(["a", ""], object), np.array(["a", ""], object)),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.zeros((3, 0)), np.zeros((3, 0))),
        (np.float64(1), np.float64(1)),
        (np.array("a", object), np.array("a", object)),
    ],
)
def test_equal_outputs_agree_exactly(expected, actual):
    parity = parity_of(expected, actual)
    assert parity.holds
    assert (parity.max_abs_error, parity.label_flips, parity.worst) == (0.0, 0, ())


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ([1.0], [np.nan]),
        ([np.nan], [1.0]),
        ([np.inf], [-np.inf]),
        ([np.inf], [1e308]),
        ([1e308], [np.inf]),
        ([1e308], [-1e308]),
        ([1.0], [1.0 + 1e-15]),
        ([0.0], [5e-324]),
        ([1], [2]),
        ([2**63 - 1], [2**63 - 2]),
        ([True], [False]),
        (np.array(["a"], object), np.array(["b"], object)),
        ([1], [1.0]),
        ([1.0], [1]),
        ([1.0, 2.0], [1.0]),
        ([[1.0]], [1.0]),
        (np.array(["1"], object), [1]),
        (np.float64(1), np.float64(2)),
        (np.array("a", object), np.array("b", object)),
    ],
)
def test_outputs_that_differ_never_agree_exactly(expected, actual):
    parity = parity_of(expected, actual)
    assert not parity.holds
    assert parity.worst[0].output == "y"
    assert parity.worst[0].row == 0
    assert parity.worst[0].excess > 1


def test_a_missing_output_does_not_agree():
    tensors = [Tensor(name=name, dtype="float32", shape=("batch",)) for name in "ab"]
    ones = np.ones(2, "f4")
    parity = compare(tensors, {"a": ones, "b": ones}, {"a": ones}, EXACT)
    assert not parity.holds
    assert "no such output" in str(parity.worst[0])


def test_the_tolerance_is_atol_plus_rtol_times_the_expected_value():
    tolerance = Tolerance(rtol=0.1, atol=1.0)
    assert parity_of([100.0], [111.0], tolerance).holds
    assert parity_of([100.0], [89.0], tolerance).holds
    assert not parity_of([100.0], [111.1], tolerance).holds
    assert parity_of([100.0], [111.0], tolerance).worst[0].excess == pytest.approx(1.0)


def test_the_worst_rows_come_first_each_of_them_once():
    expected = np.zeros((10, 3))
    actual = expected.copy()
    actual[7], actual[2, 1], actual[4, 0] = 5.0, 9.0, 1.0
    parity = parity_of(expected, actual, Tolerance(rtol=0, atol=0.5))
    assert [deviation.row for deviation in parity.worst] == [2, 7, 4]
    assert parity.worst[0].expected == [0, 0, 0]
    assert parity.worst[0].found == [0, 9, 0]
    assert parity.max_abs_error == 9.0
    assert len(parity_of(expected, actual, show=1).worst) == 1
    assert str(parity.worst[0]) == "output `y`, row 2: expected [0.0, 0.0, 0.0], found [0.0, 9.0, 0.0]"


def test_as_many_labels_may_flip_as_the_tolerance_allows():
    expected, actual = np.arange(10), np.arange(10)
    actual[[3, 8]] = 0
    assert parity_of(expected, actual, Tolerance(max_label_flips=2)).holds
    parity = parity_of(expected, actual, Tolerance(max_label_flips=1))
    assert not parity.holds
    assert parity.label_flips == 2
    assert [deviation.row for deviation in parity.worst] == [3, 8]


def test_flips_are_counted_by_row():
    assert parity_of([[1, 2], [3, 4]], [[0, 0], [3, 4]]).label_flips == 1


def test_another_width_of_float_agrees_within_the_tolerance():
    expected = np.array([0.1, 0.2])
    assert parity_of(expected, expected.astype("f4"), Tolerance()).holds
    assert not parity_of(expected, expected.astype("f4"), EXACT).holds


FLOATS = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 3)), elements=st.floats())


@given(FLOATS)
def test_any_floats_agree_with_themselves(array):
    assert parity_of(array, array.copy()).holds


@pytest.mark.slow
@given(FLOATS, st.data())
def test_the_result_is_that_of_numpys_isclose_and_nothing_warns(expected, data):
    actual = data.draw(hnp.arrays(np.float64, expected.shape, elements=st.floats()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parity = parity_of(expected, actual, Tolerance(rtol=1e-3, atol=1e-6))
    # numpy's tolerance of an infinite value is infinite; ours does not exist.
    with np.errstate(all="ignore"):
        close = np.isclose(actual, expected, rtol=1e-3, atol=1e-6, equal_nan=True)
    assert parity.holds == bool(close.all())
    assert parity.holds == (not parity.worst or parity.worst[0].excess <= 1.0)


@pytest.mark.parametrize("shape", [(2_000_000,), (1, 2_000_000), (1000, 2000)])
@pytest.mark.parametrize("dtype", ["f4", "i4"])
def test_a_comparison_of_large_outputs_takes_little_memory(shape, dtype):
    expected, actual = np.zeros(shape, dtype), np.zeros(shape, dtype)
    actual.flat[-1] = 1
    tracemalloc.start()
    try:
        parity = parity_of(expected, actual, EXACT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [deviation.row for deviation in parity.worst] == [shape[0] - 1]
    # Some numbers are kept for each row; all values in float64 would be 16 MB, as numbers of Python 60 MB.
    assert peak < 3_000_000 + 40 * shape[0]


def test_the_worst_of_many_values_in_a_row_is_found_and_said_in_few_words():
    expected, actual = np.zeros((3, 200_000)), np.zeros((3, 200_000))
    actual[1, 150_000], actual[2, 70_000] = 5.0, 7.0
    parity = parity_of(expected, actual, Tolerance(rtol=0, atol=1.0))
    assert [(deviation.row, deviation.excess) for deviation in parity.worst] == [(2, 7.0), (1, 5.0)]
    assert parity.max_abs_error == 7.0
    assert len(str(parity.worst[0])) < 200
