"""Rows as data frames write them in JSON; `tests/server/protocols/test_mlflow.py` sends them to a server."""

from __future__ import annotations

import numpy as np
import pytest

from lading.errors import BodyInvalid, InputError, ShapeRefused, ValueRefused
from lading.server.codecs.dataframe import from_columns, from_records, from_rows, from_split
from lading.signature import Signature, Tensor


def signature_of(*inputs: Tensor) -> Signature:
    return Signature(inputs, ())


NAMED = signature_of(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("u", "v")))
BARE = signature_of(Tensor(name="X", dtype="float32", shape=("batch", 2)))
PAIR = signature_of(*(Tensor(name=name, dtype="int64", shape=("batch", 1)) for name in "ab"))


@pytest.mark.parametrize(
    "inputs",
    [
        from_split(NAMED, {"columns": ["v", "u"], "data": [[2, 1], [4, 3]]}, "$"),
        from_split(NAMED, {"data": [[1, 2], [3, 4]]}, "$"),
        from_records(NAMED, [{"u": 1, "v": 2}, {"v": 4, "u": 3}], "$"),
        from_records(BARE, [{"a": 1, "b": 2}, {"a": 3, "b": 4}], "$"),
        from_rows(NAMED, [{"X": [1, 2]}, {"X": [3, 4]}], "$"),
        from_columns(NAMED, {"u": [1, 3], "v": [2, 4]}, "$"),
        from_columns(BARE, {"X": [[1, 2], [3, 4]]}, "$"),
    ],
)
def test_every_form_gives_the_same_rows(inputs):
    np.testing.assert_array_equal(inputs["X"], [[1, 2], [3, 4]])


def test_a_flat_list_is_the_column_of_an_input_with_one_value_per_row():
    inputs = from_columns(PAIR, {"a": [1, 2], "b": [[3], [4]]}, "$")
    assert inputs["a"].tolist() == [[1], [2]]
    assert inputs["b"].tolist() == [[3], [4]]


@pytest.mark.parametrize(
    ("read", "value", "kind", "text"),
    [
        (from_split, {"columns": 1, "data": []}, BodyInvalid, "`$.columns`"),
        (from_split, {"columns": ["u", "v"], "data": [[1]]}, ShapeRefused, "2 values, one for each column"),
        (from_split, {"columns": ["u", "v"], "data": [1]}, ValueRefused, "`$.data[0]`"),
        (from_records, [1], ValueRefused, "`$[0]`"),
        (from_rows, {}, BodyInvalid, "a list of rows"),
        (from_columns, {"u": [1], "v": [1, 2]}, ShapeRefused, "columns of one length"),
    ],
)
def test_another_form_is_refused_with_its_place(read, value, kind, text):
    with pytest.raises(InputError) as caught:
        read(NAMED, value, "$")
    assert type(caught.value) is kind
    assert text in caught.value.message


def test_records_of_a_model_without_names_must_agree_on_their_order():
    with pytest.raises(ValueRefused, match="the same columns in every record"):
        from_records(BARE, [{"a": 1, "b": 2}, {"b": 3, "a": 4}], "$")
