"""Whether a value is one row, by the signature of the model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lading.signature import Signature, Tensor
from lading.signature.rows import as_rows, may_be_row


def signature(*inputs):
    return Signature(inputs=inputs, outputs=(Tensor(name="y", dtype="float32", shape=("batch",)),))


MATRIX = signature(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=("a", "b")))
BARE = signature(Tensor(name="X", dtype="float32", shape=("batch", 2)))
TEXTS = signature(Tensor(name="text", dtype="string", shape=("batch",)))
MIXED = signature(
    Tensor(name="age", dtype="float32", shape=("batch", 1)),
    Tensor(name="city", dtype="string", shape=("batch",)),
)
SETTING = signature(
    Tensor(name="X", dtype="float32", shape=("batch", 2)),
    Tensor(name="temperature", dtype="float32", shape=()),
)
ROW = pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, 4.0]}).iloc[0]


@pytest.mark.parametrize(
    ("model", "data", "rows"),
    [
        (MATRIX, {"a": 1.0, "b": 2.0}, [{"a": 1.0, "b": 2.0}]),
        (MATRIX, {"a": np.float32(1), "b": np.array(2)}, [{"a": 1.0, "b": 2.0}]),
        (MATRIX, ROW, [{"a": 1.0, "b": 2.0}]),
        (MATRIX, pd.Series([1.0, 2.0]), [[1.0, 2.0]]),
        (BARE, ROW, [[1.0, 2.0]]),
        (MIXED, {"age": 31, "city": "Oslo"}, [{"age": 31, "city": "Oslo"}]),
        (MIXED, pd.Series({"age": 31, "city": "Oslo"}), [{"age": 31, "city": "Oslo"}]),
    ],
)
def test_one_row_becomes_rows(model, data, rows):
    assert may_be_row(data)
    assert as_rows(model, data) == rows


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (MATRIX, [[1.0, 2.0]]),
        (MATRIX, {"X": [[1.0, 2.0]]}),
        (MIXED, {"age": [31.0], "city": ["Oslo"]}),
        (SETTING, {"X": [[1.0, 2.0]], "temperature": 0.5}),
        # A column of texts whose rows have names.
        (TEXTS, pd.Series({"first": "good", "second": "bad"})),
    ],
)
def test_whole_inputs_and_columns_stay_as_they_are(model, data):
    assert as_rows(model, data) is data
