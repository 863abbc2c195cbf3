"""Rows cast by a signature, and what a signature states of a model."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lading.errors import (
    EmptyInput,
    InputError,
    InputMissing,
    InputUnknown,
    ShapeRefused,
    ValueRefused,
)
from lading.signature import Signature, Tensor


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


def shaped(shape, leaf):
    """Draw lists that mostly have `shape`, so that not everything is refused."""
    values = leaf
    for size in reversed(shape):
        least, most = (size, size) if isinstance(size, int) else (1, 3)
        values = st.lists(values, min_size=least, max_size=most)
    return values


@pytest.mark.slow
@given(VALUES | shaped(("batch", 2), SCALARS))
@example({"X": None})
@example([{"age": 1, "city": "x", "\ud800": 1}])
@example([{"age": 1}] * 2)
@example([[1, "x"], {}])
def test_any_json_is_cast_or_refused(value):
    for candidate in (COLUMNS, MIXED, signature(MATRIX), signature(MATRIX, tensor("int8", 3))):
        try:
            cast = candidate.cast_rows(value)
        except InputError as error:
            str(error).encode()
            continue
        for only in candidate.inputs:
            assert cast[only.name].dtype == only.numpy_dtype


def test_rows_are_lists_or_objects_by_column():
    for rows in ([[1, 2], [3, 4]], [{"u": 1, "v": 2}, {"v": 4, "u": 3}], {"X": [[1, 2], [3, 4]]}):
        assert COLUMNS.cast_rows(rows)["X"].tolist() == [[1, 2], [3, 4]]


def test_rows_of_several_inputs_are_split_by_input():
    expected = {"age": [[30], [40]], "city": [["a"], ["b"]]}
    for rows in (
        [[30, "a"], [40, "b"]],
        [{"age": 30, "city": "a"}, {"city": "b", "age": 40}],
        [{"age": [30], "city": ["a"]}, {"city": ["b"], "age": [40]}],
        {"age": [[30], [40]], "city": [["a"], ["b"]]},
    ):
        cast = MIXED.cast_rows(rows)
        assert {name: array.tolist() for name, array in cast.items()} == expected
        assert list(cast) == ["age", "city"]


@pytest.mark.parametrize(
    ("rows", "kind", "text"),
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
def test_rows_that_do_not_fit_are_refused_with_their_path(rows, kind, text):
    with pytest.raises(InputError) as caught:
        MIXED.cast_rows(rows)
    assert type(caught.value) is kind
    for part in text:
        assert part in str(caught.value)


def test_a_hostile_key_is_quoted_short_and_printable():
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


def test_dimensions_of_one_name_have_one_size_in_a_single_tensor_too():
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
    for original in (COLUMNS, MIXED):
        assert msgspec.json.decode(msgspec.json.encode(original), type=Signature) == original


def test_a_message_is_one_sentence_that_json_can_carry():
    with pytest.raises(ValueRefused) as caught:
        MIXED.cast_rows([[1, "\ud800"]])
    json.dumps(str(caught.value)).encode()


def test_columns_of_different_lengths_are_refused_with_a_path():
    ragged = signature(tensor("float32", "batch", "n"), Tensor(name="y", dtype="float32", shape=("batch",)))
    with pytest.raises(ShapeRefused) as caught:
        ragged.cast_rows([{"X": [1], "y": 1}, {"X": [1, 2], "y": 2}])
    assert caught.value.message == (
        "input `X`: expected `float32 [batch, n]`, "
        "found lists of different lengths, or empty ones, at `$.data`"
    )


def test_sizes_without_a_name_are_independent():
    image = Tensor(name="x", dtype="float32", shape=("batch", "?", "?"))
    Signature((image,), (image,)).check_sizes({"x": np.zeros((1, 48, 192), np.float32)})
    square = Tensor(name="x", dtype="float32", shape=("batch", "n", "n"))
    with pytest.raises(ShapeRefused, match="`n` = 48"):
        Signature((square,), (square,)).check_sizes({"x": np.zeros((1, 48, 192), np.float32)})


def test_rows_that_depend_on_each_other_are_no_batch():
    row = Tensor(name="x", dtype="float32", shape=("batch", 2))
    assert Signature((row,), (row,)).batched
    assert not Signature((row,), (row,), independent_rows=False).batched
