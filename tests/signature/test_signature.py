from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lading.errors import (
    EmptyInput,
    InputError,
    InputMissing,
    InputUnknown,
    ShapeRefused,
    ValueRefused,
)
from lading.signature import DTYPES, Signature, Tensor, cast_array, cast_json, describe

INTEGERS = [dtype for dtype in DTYPES if "int" in dtype]
FLOATS = [dtype for dtype in DTYPES if "float" in dtype]
NAN, INF = float("nan"), float("inf")


def must_say(error, words):
    assert words in str(error)


def tensor(dtype, *shape, **more):
    return Tensor(name="X", dtype=dtype, shape=shape or ("batch",), **more)


def signature(*inputs):
    return Signature(inputs=inputs, outputs=(tensor("float32"),))


MATRIX = tensor("float32", "batch", 2)
COLUMNS = signature(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("u", "v")))
MIXED = signature(
    Tensor(name="age", dtype="int64", shape=("batch", 1)),
    Tensor(name="city", dtype="string", shape=("batch", 1)),
)


@pytest.mark.parametrize(
    ("dtype", "values", "given"),
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
def test_a_cast_that_changes_nothing_is_done(dtype, values, given):
    array = np.array(values, given)
    cast = cast_array(tensor(dtype), array)
    assert cast.dtype == np.dtype(dtype)
    assert [int(one) if math.isfinite(one) and one == int(one) else one for one in cast.tolist()] == values


@pytest.mark.parametrize(
    ("dtype", "value", "given"),
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
def test_a_cast_that_would_change_the_value_is_refused(dtype, value, given):
    with pytest.raises(ValueRefused, match="input `X`: expected `"):
        cast_array(tensor(dtype), np.array([value], given))


def test_the_place_of_the_first_offender_is_named():
    array = np.array([[1.0, 2.0], [3.0, 0.5], [0.5, 0.5]])
    with pytest.raises(ValueRefused, match=r"found 0\.5 at \[1, 1\]"):
        cast_array(tensor("int64", "batch", 2), array)


def test_an_array_of_the_right_dtype_is_not_copied():
    array = np.ones((3, 2), "f4")
    assert cast_array(MATRIX, array) is array


def test_text_comes_as_unicode_or_as_utf8_bytes():
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
def test_whatever_cast_array_takes_keeps_its_value(dtype, allows_nan, data):
    array = data.draw(hnp.arrays(data.draw(NUMBERS), st.integers(1, 6)))
    try:
        cast = cast_array(tensor(dtype, allows_nan=allows_nan), array)
    except InputError as error:
        must_say(error, "input `X`: expected `")
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


def test_a_float_that_is_whole_is_an_integer_where_no_digit_can_be_lost():
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
    ("dtype", "value", "found"),
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
def test_a_json_value_of_another_type_is_refused_with_its_path(dtype, value, found):
    good = {"string": "a", "bool": True}.get(dtype, 1)
    with pytest.raises(ValueRefused) as caught:
        cast_json(tensor(dtype, "batch", 2), [[good, good], [good, value]], "$.data")
    assert (
        caught.value.message == f"input `X`: expected `{dtype} [batch, 2]`, found {found} at `$.data[1][1]`"
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_null_and_nan_are_taken_where_the_golden_samples_had_them(dtype):
    cast = cast_json(tensor(dtype, allows_nan=True), [None, NAN, 1])
    assert np.isnan(cast).tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", ["int64", "bool", "string"])
def test_null_is_never_taken_for_what_has_no_nan(dtype):
    with pytest.raises(ValueRefused, match="null"):
        cast_json(tensor(dtype, allows_nan=True), [None])


@pytest.mark.parametrize(
    ("shape", "value", "kind", "words"),
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
def test_another_shape_of_json_is_refused_with_its_path(shape, value, kind, words):
    only = Tensor(name="X", dtype="float32", shape=shape)
    with pytest.raises(InputError) as caught:
        cast_json(only, value)
    assert type(caught.value) is kind
    assert words in str(caught.value)


def test_ragged_text_is_refused():
    with pytest.raises(ShapeRefused, match="different lengths"):
        cast_json(tensor("string", "batch", "n"), [["a"], ["b", "c"]])


def test_scalars_and_empty_dynamic_dimensions_are_arrays_too():
    assert cast_json(Tensor(name="X", dtype="float32", shape=()), 3).shape == ()
    assert cast_json(tensor("float32", "batch", "n"), [[], []]).shape == (2, 0)


@pytest.mark.parametrize("dtype", ["float32", "int64", "string"])
def test_deep_nesting_is_refused_without_recursion(dtype):
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InputError):
        cast_json(tensor(dtype, "batch", 1), deep)
    with pytest.raises(InputError):
        signature(tensor(dtype, "batch", 1)).cast_rows(deep)


def test_the_key_of_the_column_stands_in_the_path():
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
    """Draw lists that mostly have `shape`, so that refusals are not all there is."""
    values = leaf
    for size in reversed(shape):
        least, most = (size, size) if isinstance(size, int) else (1, 3)
        values = st.lists(values, min_size=least, max_size=most)
    return values


@given(st.sampled_from(DTYPES), SHAPES, st.booleans(), st.data())
def test_cast_json_gives_the_dtype_and_shape_or_refuses_with_a_path(dtype, shape, allows_nan, data):
    one = Tensor(name="X", dtype=dtype, shape=shape, allows_nan=allows_nan)
    value = data.draw(VALUES | shaped(shape, SCALARS) | shaped(shape, st.integers(0, 9)))
    try:
        cast = cast_json(one, value, "$.data")
    except InputError as error:
        must_say(error, "`$.data")
        must_say(error, "input `X`: expected `")
        return
    assert cast.dtype == one.numpy_dtype
    assert len(cast.shape) == len(shape)
    assert all(isinstance(want, str) or want == have for want, have in zip(shape, cast.shape, strict=True))
    assert keeps(cast.tolist(), value, one)


def keeps(after, before, one):
    if isinstance(before, list):
        return len(after) == len(before) and all(
            keeps(*pair, one) for pair in zip(after, before, strict=True)
        )
    if before is None or (isinstance(before, float) and math.isnan(before)):
        return one.allows_nan and math.isnan(after)
    if one.dtype.startswith("float"):
        assert not isinstance(before, bool)
        exact = np.float64(before).astype(one.dtype)
        return after == exact.item() and (
            math.isinf(after) == (isinstance(before, float) and math.isinf(before))
        )
    return after == before and (isinstance(after, bool) == isinstance(before, bool))


@given(VALUES | shaped(("batch", 2), SCALARS))
@example({"X": None})
@example([{"age": 1, "city": "x", "\ud800": 1}])
@example([{"age": 1}] * 2)
@example([[1, "x"], {}])
def test_no_json_breaks_cast_rows(value):
    for given_signature in (COLUMNS, MIXED, signature(MATRIX), signature(MATRIX, tensor("int8", 3))):
        try:
            cast = given_signature.cast_rows(value)
        except InputError as error:
            str(error).encode()
            continue
        for one in given_signature.inputs:
            assert cast[one.name].dtype == one.numpy_dtype


def test_rows_are_lists_or_objects_by_column():
    for rows in ([[1, 2], [3, 4]], [{"u": 1, "v": 2}, {"v": 4, "u": 3}], {"X": [[1, 2], [3, 4]]}):
        assert COLUMNS.cast_rows(rows)["X"].tolist() == [[1, 2], [3, 4]]


def test_rows_of_several_inputs_are_split_by_input():
    wanted = {"age": [[30], [40]], "city": [["a"], ["b"]]}
    for rows in (
        [[30, "a"], [40, "b"]],
        [{"age": 30, "city": "a"}, {"city": "b", "age": 40}],
        [{"age": [30], "city": ["a"]}, {"city": ["b"], "age": [40]}],
        {"age": [[30], [40]], "city": [["a"], ["b"]]},
    ):
        cast = MIXED.cast_rows(rows)
        assert {name: array.tolist() for name, array in cast.items()} == wanted
        assert list(cast) == ["age", "city"]


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([{"age": 30}], InputMissing, ["$.data[0]", "column `city`"]),
        ([{"age": 30, "city": "a", "town": "b"}], InputUnknown, ["$.data[0]", "column `town`"]),
        ([{"age": 30, "city": "a"}, [40, "b"]], ValueRefused, ["$.data[1]", "a list"]),
        ([{"age": 1.5, "city": "a"}], ValueRefused, ["1.5 at `$.data[0].age`"]),
        ([{"age": 1, "city": "a"}, {"age": 2, "city": None}], ValueRefused, ["null at `$.data[1].city`"]),
        ([[1, "a"], [2, 3]], ValueRefused, ["3 at `$.data[1][1]`"]),
        ([[1]], ShapeRefused, ["$.data[0]"]),
        ([1, 2], ValueRefused, ["$.data[0]"]),
        ([], EmptyInput, ["$.data"]),
        ("x", ValueRefused, ["$.data", "a string"]),
        (None, ValueRefused, ["$.data", "null"]),
        ({"age": [[1]]}, InputMissing, ["city"]),
        ({"age": [[1]], "city": [["a"]], "town": 1}, InputUnknown, ["`town`"]),
        ({"age": [[1], [2]], "city": [["a"]]}, ShapeRefused, ["`batch` = 2", "found 1"]),
        ({"age": [[1], ["x"]], "city": [["a"]]}, ValueRefused, ["`$.data.age[1][0]`"]),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_their_path(rows, kind, words):
    with pytest.raises(InputError) as caught:
        MIXED.cast_rows(rows)
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)


def test_a_hostile_key_is_shown_short_and_printable():
    for key in ("\x1b[31m" * 9, "\ud800", "x" * 10**6):
        with pytest.raises(InputUnknown) as caught:
            COLUMNS.cast_rows([{"u": 1, "v": 2, key: 3}])
        text = str(caught.value)
        assert text.isprintable()
        assert len(text) < 400
    with pytest.raises(InputMissing) as missed:
        COLUMNS.cast_rows([{str(at): at for at in range(10_000)}])
    assert len(str(missed.value)) < 400


def test_whole_arrays_are_cast_by_name():
    arrays = {"city": np.array([["a"]]), "age": np.array([[30]], "i2")}
    cast = MIXED.cast(arrays)
    assert list(cast) == ["age", "city"]
    assert cast["age"].dtype == np.int64
    with pytest.raises(InputMissing, match="city"):
        MIXED.cast({"age": np.array([[30]])})
    with pytest.raises(InputUnknown, match="town"):
        MIXED.cast({**arrays, "town": np.array([1])})
    with pytest.raises(ShapeRefused, match="batch"):
        MIXED.cast({**arrays, "age": np.array([[30], [40]])})


def test_one_name_is_one_size_inside_a_tensor_too():
    square = signature(tensor("float32", "n", "n"))
    assert square.cast_rows({"X": [[1, 2], [3, 4]]})["X"].shape == (2, 2)
    with pytest.raises(ShapeRefused, match="`n` = 1"):
        square.cast_rows({"X": [[1, 2]]})


def test_the_primary_output_is_probabilities_scores_value_or_the_first():
    def primary(*names):
        outputs = tuple(Tensor(name=name, dtype="float32", shape=("batch",)) for name in names)
        return Signature(inputs=(MATRIX,), outputs=outputs).primary.name

    assert primary("label", "probabilities", "scores") == "probabilities"
    assert primary("label", "value", "scores") == "scores"
    assert primary("label", "value") == "value"
    assert primary("label", "other") == "label"


def test_a_signature_is_batched_only_if_every_tensor_is():
    assert COLUMNS.batched
    assert not signature(MATRIX, tensor("float32", 2)).batched
    assert MIXED.columns == ("age", "city")
    assert COLUMNS.columns == ("u", "v")
    assert signature(MATRIX).columns == ()
    assert signature(MATRIX, tensor("float32", 2)).columns == ()


def test_a_signature_survives_json():
    for one in (COLUMNS, MIXED):
        assert msgspec.json.decode(msgspec.json.encode(one), type=Signature) == one


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (10**400, "a number of 1329 bits"),
        ("x", "a string"),
        ([], "an empty list"),
        ([1], "a list"),
        ({}, "an object"),
        (b"", "a bytes"),
    ],
)
def test_a_value_is_described_as_json_calls_it(value, words):
    assert describe(value) == words


def test_a_message_is_one_sentence_that_json_can_carry():
    with pytest.raises(ValueRefused) as caught:
        MIXED.cast_rows([[1, "\ud800"]])
    json.dumps(str(caught.value)).encode()
