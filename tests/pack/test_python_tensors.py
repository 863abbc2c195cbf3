"""Inputs of models in Python, as samples show them."""

from __future__ import annotations

import numpy as np
import pytest

from lading.convert.table import Table, make_frame, make_table
from lading.errors import ConverterFailed
from lading.pack.python_tensors import in_floats, input_tensors
from lading.signature import BATCH


def test_columns_of_one_dtype_are_one_input_and_of_several_one_each():
    same = make_table(make_frame({"a": np.ones(3), "b": np.zeros(3)}), "`m`")
    ((tensor,), values) = input_tensors(same, "m")
    assert (tensor.name, tensor.shape, tensor.columns) == ("X", (BATCH, 2), ("a", "b"))
    assert values["X"].tolist() == [[1, 0]] * 3
    mixed = make_table(make_frame({"a": np.ones(3), "b": np.array(["x", "y", "z"], object)}), "`m`")
    tensors, _ = input_tensors(mixed, "m")
    assert [(each.name, each.dtype) for each in tensors] == [("a", "float64"), ("b", "string")]


def test_floats_have_the_dtype_that_is_asked_for_and_whole_numbers_their_own():
    table = make_table(make_frame({"a": np.ones(3), "b": np.arange(3)}), "`m`")
    assert in_floats(table, "auto") is table
    narrow = in_floats(table, "float32")
    assert {name: str(array.dtype) for name, array in narrow.arrays.items()} == {
        "a": "float32",
        "b": "int64",
    }


def test_only_columns_with_missing_values_may_have_them():
    table = make_table(make_frame({"a": np.array([1.0, np.nan]), "b": np.ones(2)}), "`m`")
    ((tensor,), _) = input_tensors(table, "m")
    assert (tensor.allows_nan, tensor.nan_columns) == (True, (0,))


def test_a_dtype_that_no_tensor_has_is_refused():
    with pytest.raises(ConverterFailed, match="expected numbers, booleans or texts, found `complex128`"):
        input_tensors(Table("array", {"X": np.ones((2, 2), complex)}), "m")
