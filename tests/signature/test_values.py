"""JSON values cast to the array of a tensor, or refused with their path."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import (
    EmptyInput,
    InputError,
    ShapeRefused,
    ValueRefused,
)
from lading.signature import DTYPES, Signature, Tensor, cast_json

INTEGERS = [dtype for dtype in DTYPES if "int" in dtype]


FLOATS = [dtype for dtype in DTYPES if "float" in dtype]


NAN, INF = float("nan"), float("inf")


def tensor(dtype, *shape, **more):
    return Tensor(name="X", dtype=dtype, shape=shape or ("batch",), **more)


def signature(*inputs):
    return Signature(inputs=inputs, outputs=(tensor("float32"),))


MATRIX = tensor("float32", "batch", 2)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [0, 1, -1, 1.5, 2048, 1e-300, -0.0])
def test_json_numbers_become_floats(dtype, value):
    cast = cast_json(tensor(dtype), [value])
    assert cast.dtype == np.dtype(dtype)
    assert cast[0] == np.dtype(dtype).type(value)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_json_integers_reach_the_ends_of_their_range(dtype):
    info = np.iinfo(dtype)
    assert cast_json(tensor(dtype), [int(info.min), int(info.max)]).tolist() == [info.min, info.max]
    for value in (int(info.min) - 1, int(info.max) + 1, 10**400, -(10**5000)):
        with pytest.raises(ValueRefused, match=f"beyond {dtype}, at `\\$\\[0\\]`"):
            cast_json(tensor(dtype), [value])


def test_a_whole_float_is_an_integer_if_no_digit_can_be_lost():
    assert cast_json(tensor("int64"), [2.0, -0.0, 2.0**53]).tolist() == [2, 0, 2**53]
    for value in (2.0**53 + 2, 1e18, 1.5, NAN, INF, 1e300):
        with pytest.raises(ValueRefused, match=r"at `\$\[0\]`"):
            cast_json(tensor("int64"), [value])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [10**400, -(10**400), 10**5000, 2**1024], ids=["a", "b", "c", "d"])
def test_an_integer_beyond_every_float_is_refused(dtype, value):
    with pytest.raises(ValueRefused, match=f"bits, which is beyond {dtype}, at"):
        cast_json(tensor(dtype), [value])


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("float32", "1", "a string"),
        ("float32", True, "true"),
        ("float32", None, "null"),
        ("float32", NAN, "NaN"),
        ("float32", 1e39, "1e+39, which is beyond float32,"),
        ("float16", 65520.0, "65520.0, which is beyond float16,"),
        ("float32", [], "an empty list"),
        ("float32", [1], "a list"),
        ("float32", {}, "an object"),
        ("int64", 1.5, "1.5"),
        ("int64", "1", "a string"),
        ("int64", True, "true"),
        ("int64", None, "null"),
        ("bool", 1, "1"),
        ("bool", 0.0, "0.0"),
        ("bool", "true", "a string"),
        ("string", 1, "1"),
        ("string", None, "null"),
        ("string", True, "true"),
        ("string", ["a"], "a list"),
        ("string", "a\0", "a string with a NUL or a lone surrogate"),
        ("string", "\udfff", "a string with a NUL or a lone surrogate"),
    ],
)
def test_a_json_value_of_another_type_is_refused_with_its_path(dtype, value, text):
    good = {"string": "a", "bool": True}.get(dtype, 1)
    with pytest.raises(ValueRefused) as caught:
        cast_json(tensor(dtype, "batch", 2), [[good, good], [good, value]], "$.data")
    assert caught.value.message == f"input `X`: expected `{dtype} [batch, 2]`, found {text} at `$.data[1][1]`"


@pytest.mark.parametrize("dtype", FLOATS)
def test_null_and_nan_are_missing_values_if_the_tensor_allows_them(dtype):
    cast = cast_json(tensor(dtype, allows_nan=True), [None, NAN, 1])
    assert np.isnan(cast).tolist() == [True, True, False]


@pytest.mark.parametrize("value", [None, NAN])
@pytest.mark.parametrize("row", [2, 2500])
def test_null_and_nan_are_refused_in_a_column_that_may_not_be_missing(value, row):
    some = tensor("float32", "batch", 3, allows_nan=True, nan_columns=(0, 2))
    rows: list[list[float | None]] = [[value, 1.0, value] for _ in range(row + 1)]
    assert np.isnan(cast_json(some, rows)[-1]).tolist() == [True, False, True]
    rows[row][1] = value
    flat = [cell for cells in rows for cell in cells]  # as the Open Inference Protocol allows
    for values, shape, path in (
        (rows, None, f"$[{row}][1]"),
        (flat, (len(flat),), f"$[{3 * row + 1}]"),
    ):
        with pytest.raises(ValueRefused, match="in a column that may not be missing") as caught:
            cast_json(some, values, shape=shape)
        assert caught.value.path == path


@pytest.mark.parametrize("dtype", ["int64", "bool", "string"])
def test_null_is_refused_by_every_dtype_without_nan(dtype):
    with pytest.raises(ValueRefused, match="null"):
        cast_json(tensor(dtype, allows_nan=True), [None])


@pytest.mark.parametrize(
    ("shape", "value", "kind", "text"),
    [
        (("batch", 2), [[1, 2], [3]], ShapeRefused, "1 value at `$[1]`"),
        (("batch", 2), [[1, 2, 3]], ShapeRefused, "3 values at `$[0]`"),
        (("batch", 2), [[]], ShapeRefused, "0 values at `$[0]`"),
        (("batch", 2), [1, 2], ValueRefused, "1 at `$[0]`"),
        (("batch", 2), [], EmptyInput, "at least one row"),
        (("batch", 2), {}, ValueRefused, "an object at `$`"),
        (("batch", 2), None, ValueRefused, "null at `$`"),
        (("batch", "n"), [[1, 2], [3]], ShapeRefused, "different lengths"),
        (("batch", "n", 2), [[], []], ShapeRefused, "empty"),
        (("batch", "n", 2), [[[1, 2]], [[1, 2], [3, 4]]], ShapeRefused, "different lengths"),
        ((), [1], ValueRefused, "a list at `$`"),
        ((2,), [1, 2, 3], ShapeRefused, "3 values at `$`"),
    ],
)
def test_another_shape_of_json_is_refused_with_its_path(shape, value, kind, text):
    only = Tensor(name="X", dtype="float32", shape=shape)
    with pytest.raises(InputError) as caught:
        cast_json(only, value)
    assert type(caught.value) is kind
    assert text in str(caught.value)


def test_ragged_text_is_refused():
    with pytest.raises(ShapeRefused, match="different lengths"):
        cast_json(tensor("string", "batch", "n"), [["a"], ["b", "c"]])


def test_scalars_and_empty_dynamic_dimensions_become_arrays():
    assert cast_json(Tensor(name="X", dtype="float32", shape=()), 3).shape == ()
    assert cast_json(tensor("float32", "batch", "n"), [[], []]).shape == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int64", "string"])
def test_deep_nesting_is_refused_without_recursion(dtype):
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError):
        cast_json(tensor(dtype, "batch", 1), deep)
    with pytest.raises(InputError):
        signature(tensor(dtype, "batch", 1)).cast_rows(deep)


def test_the_path_names_the_column_of_a_row_that_is_an_object():
    with pytest.raises(ValueRefused, match=r"null at `\$\[0\]\.v`"):
        cast_json(MATRIX, [[1, None]], columns=("u", "v"))
    # More values than there are columns, where the size is dynamic.
    with pytest.raises(ValueRefused, match=r"a string at `\$\[0\]\[2\]`"):
        cast_json(tensor("float32", "batch", "n"), [[1, 2, "x"]], columns=("u", "v"))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53, 2**63, 2**64, -(2**63), 10**400, 65504, 65520, 1.5, 2.0, 1e39, 1e300])
    | st.floats()
    | st.text(max_size=4)
)


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=20,
)


SHAPES = st.sampled_from(
    [(), ("batch",), ("batch", 1), ("batch", 2), ("batch", "n"), (2,), ("n", "n"), ("batch", 2, "n")]
)


def shaped(shape, leaf):
    """Draw lists that mostly have `shape`, so that not everything is refused."""
    values = leaf
    for size in reversed(shape):
        least, most = (size, size) if isinstance(size, int) else (1, 3)
        values = st.lists(values, min_size=least, max_size=most)
    return values


@pytest.mark.slow
@given(st.sampled_from(DTYPES), SHAPES, st.booleans(), st.data())
def test_every_value_is_cast_to_dtype_and_shape_or_refused_with_its_path(dtype, shape, allows_nan, data):
    only = Tensor(name="X", dtype=dtype, shape=shape, allows_nan=allows_nan)
    value = data.draw(VALUES | shaped(shape, SCALARS) | shaped(shape, st.integers(0, 9)))
    message = ""
    try:
        cast = cast_json(only, value, "$.data")
    except InputError as error:
        message = str(error)
    if message:
        assert "`$.data" in message
        assert "input `X`: expected `" in message
        return
    assert cast.dtype == only.numpy_dtype
    assert len(cast.shape) == len(shape)
    assert all(
        isinstance(size, str) or size == length for size, length in zip(shape, cast.shape, strict=True)
    )
    assert is_kept(cast.tolist(), value, only)


def is_kept(after, before, only):
    if isinstance(before, list):
        return len(after) == len(before) and all(
            is_kept(*pair, only) for pair in zip(after, before, strict=True)
        )
    if before is None or (isinstance(before, float) and math.isnan(before)):
        return only.allows_nan and math.isnan(after)
    if only.dtype.startswith("float"):
        assert not isinstance(before, bool)
        exact = np.float64(before).astype(only.dtype)
        return after == exact.item() and (
            math.isinf(after) == (isinstance(before, float) and math.isinf(before))
        )
    return after == before and (isinstance(after, bool) == isinstance(before, bool))


def test_a_value_may_be_cast_to_another_shape_than_the_tensors():
    cast = cast_json(tensor("float32", "batch", 2), [1, 2, 3], shape=(3,))
    assert cast.tolist() == [1, 2, 3]
    with pytest.raises(ShapeRefused) as caught:
        cast_json(tensor("float32", "batch", 2), [1, 2], shape=(3,))
    # The message names the tensor as the signature has it.
    assert caught.value.message == "input `X`: expected `float32 [batch, 2]`, found 2 values at `$`"


def test_the_path_is_a_field_of_the_error():
    with pytest.raises(ValueRefused) as caught:
        cast_json(tensor("int64"), [1, "a"], "$.data", row_suffix=".age")
    assert (caught.value.found, caught.value.path) == ("a string", "$.data[1].age")


def test_the_first_offender_is_found_far_down():
    with pytest.raises(ValueRefused, match=r"at `\$\[2500\]`"):
        cast_json(tensor("int64"), [*range(2500), "a", *range(2500)])
