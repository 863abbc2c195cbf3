"""Arrays cast to the dtype of a tensor: every value is kept or refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lading.errors import (
    EmptyInput,
    InputError,
    ShapeRefused,
    ValueRefused,
)
from lading.signature import DTYPES, Tensor, cast_array

NAN, INF = float("nan"), float("inf")


def tensor(dtype, *shape, **more):
    return Tensor(name="X", dtype=dtype, shape=shape or ("batch",), **more)


MATRIX = tensor("float32", "batch", 2)


@pytest.mark.parametrize(
    ("dtype", "values", "source"),
    [
        ("float64", [2**53], "i8"),
        ("float64", [-(2**63), 2**62], "i8"),
        ("float64", [2**63, 2**64 - 2048], "u8"),
        ("float32", [2**24, -(2**63)], "i8"),
        ("float16", [2048, -2048, 65504], "i8"),
        ("int64", [-(2.0**63), 2.0**53], "f8"),
        ("uint64", [2.0**63, 0.0], "f8"),
        ("int8", [-128.0, 127.0], "f2"),
        ("int8", [-128, 127], "i8"),
        ("uint8", [0, 255], "i8"),
        ("int64", [2**63 - 1], "u8"),
        ("int64", [5], ">i8"),
        ("float32", [1.5], ">f8"),
        ("float32", [INF, -INF], "f8"),
    ],
)
def test_an_array_whose_values_do_not_change_is_cast(dtype, values, source):
    array = np.array(values, source)
    cast = cast_array(tensor(dtype), array)
    assert cast.dtype == np.dtype(dtype)
    assert [
        int(value) if math.isfinite(value) and value == int(value) else value for value in cast.tolist()
    ] == values


@pytest.mark.parametrize(
    ("dtype", "value", "source"),
    [
        ("float64", 2**53 + 1, "i8"),
        ("float64", 2**63 - 1, "i8"),
        ("float64", 2**63 - 513, "i8"),
        ("float64", 2**64 - 1, "u8"),
        ("float32", 2**24 + 1, "i8"),
        ("float32", 2**63 - 1, "i8"),
        ("float16", 2049, "i8"),
        ("float16", 70000, "u4"),
        ("float16", -(2**63), "i8"),
        ("int64", 2.0**63, "f8"),
        ("int64", NAN, "f8"),
        ("int64", INF, "f8"),
        ("int64", 1.5, "f8"),
        ("uint64", 2.0**64, "f8"),
        ("uint64", -1.0, "f8"),
        ("uint8", -0.5, "f8"),
        ("uint8", 256, "i8"),
        ("uint8", -1, "i1"),
        ("int8", 255, "u1"),
        ("int64", 2**63, "u8"),
        ("uint64", -1, "i8"),
        ("int32", 2.0**31, "f4"),
        ("float16", 65520.0, "f8"),
        ("float32", 1e39, "f8"),
        ("float32", NAN, "f8"),
        ("float32", NAN, "f4"),
        ("float32", True, "?"),
        ("int8", True, "?"),
        ("bool", 1, "i8"),
        ("bool", 1.0, "f8"),
        ("float32", "1", "U"),
        ("float32", 1, "O"),
        ("float32", 1j, "c8"),
        ("float32", 1, "M8[s]"),
        ("float32", (1,), [("a", "f4")]),
        ("string", 1, "i8"),
        ("string", None, "O"),
        ("string", 1, "O"),
        ("string", b"a", "O"),
        ("string", NAN, "O"),
        ("string", "a\0b", "U"),
        ("string", "\ud800", "O"),
        ("string", b"\xff", "S"),
    ],
)
def test_a_cast_that_would_change_the_value_is_refused(dtype, value, source):
    with pytest.raises(ValueRefused, match="input `X`: expected `"):
        cast_array(tensor(dtype), np.array([value], source))


def test_the_place_of_the_first_offender_is_named():
    array = np.array([[1.0, 2.0], [3.0, 0.5], [0.5, 0.5]])
    with pytest.raises(ValueRefused, match=r"found 0\.5 at \[1, 1\]"):
        cast_array(tensor("int64", "batch", 2), array)


def test_an_array_of_the_right_dtype_is_not_copied():
    array = np.ones((3, 2), "f4")
    assert cast_array(MATRIX, array) is array


def test_text_is_read_from_unicode_and_from_utf8_bytes():
    for array in (np.array(["a", "ü"]), np.array(["a", "ü"], object), np.array([b"a", "ü".encode()])):
        cast = cast_array(tensor("string"), array)
        assert cast.dtype == object
        assert cast.tolist() == ["a", "ü"]


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 2, 1), (), (2,)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ShapeRefused, match=r"expected `float32 \[batch, 2\]`, found shape"):
        cast_array(MATRIX, np.ones(shape, "f4"))


def test_no_rows_are_refused():
    with pytest.raises(EmptyInput):
        cast_array(MATRIX, np.ones((0, 2), "f4"))


NUMBERS = st.sampled_from(
    ["?", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8", ">f8", ">i4"]
)


@given(st.sampled_from(DTYPES), st.booleans(), st.data())
def test_every_array_is_cast_without_a_change_or_refused(dtype, allows_nan, data):
    array = data.draw(hnp.arrays(data.draw(NUMBERS), st.integers(1, 6)))
    message = ""
    try:
        cast = cast_array(tensor(dtype, allows_nan=allows_nan), array)
    except InputError as error:
        message = str(error)
    if message:
        assert "input `X`: expected `" in message
        return
    assert cast.dtype == np.dtype(dtype)
    assert cast.shape == array.shape
    assert (array.dtype.kind == "b") == (cast.dtype.kind == "b")
    for before, after in zip(array.tolist(), cast.tolist(), strict=True):
        if isinstance(before, float) and math.isnan(before):
            assert math.isnan(after)
            assert allows_nan
        elif array.dtype.kind == cast.dtype.kind == "f":
            # Only to the nearest float of the narrower kind, and never to infinity.
            assert math.isinf(after) == math.isinf(before)
            assert after == before or np.dtype(dtype).type(before) == np.dtype(dtype).type(after)
        else:
            assert after == before  # Python compares int and float exactly
