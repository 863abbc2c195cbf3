"""The error messages of TensorFlow Serving, determined without a server."""

from __future__ import annotations

import pytest

from lading.errors import BodyInvalid
from lading.server.protocols.tfs.error_text import check_rows, explain, show
from lading.signature import Signature, Tensor


def signature(dtype: str = "float32", *names: str, allows_nan: bool = False) -> Signature:
    tensors = tuple(
        Tensor(name=name, dtype=dtype, shape=("batch", 2), allows_nan=allows_nan) for name in names or ("x",)
    )
    return Signature(tensors, ())


@pytest.mark.parametrize(
    ("dtype", "rows"),
    [
        ("float32", [[1, 2.5], [-1, 16_777_215]]),
        ("float64", [[9_007_199_254_740_991, 1e300]]),
        ("int8", [[300, -(2**31)]]),  # It reads int8 as int32.
        ("uint32", [[0, 2**32 - 1]]),
        ("string", [["a", {"b64": "YQ=="}]]),
        ("bool", [[True, False]]),
    ],
)
def test_rows_that_tensorflow_serving_accepts_have_no_error(dtype, rows):
    assert explain(signature(dtype), rows) is None
    assert explain(signature(dtype), {"x": rows}) is None


@pytest.mark.parametrize(
    ("dtype", "rows", "text"),
    [
        ("float32", [[1, 16_777_216]], "without loss of precision"),
        ("float32", [[1, 2], [3]], "Expecting tensor size: 2 but got: 1"),
        ("float32", [[[1], [2]], [[1, 2]]], "Expecting shape [2,1] but got: [1,2]"),
        ("int32", [[1, 2.0]], "Type: Number is not of expected type: int32"),
        ("uint64", [[1, -1]], "is not of expected type: uint64"),
        ("string", [["a", {"c": 1}]], "not formatted correctly for base64 data"),
        ("bool", [[True, None]], "Type: Null"),
    ],
)
def test_the_first_value_that_tensorflow_serving_refuses_is_named(dtype, rows, text):
    assert text in (explain(signature(dtype), rows) or "")


def test_null_is_accepted_only_as_a_missing_value():
    assert explain(signature(allows_nan=True), [[1, None]]) is None
    assert "Type: Null" in (explain(signature(), [[1, None]]) or "")


def test_the_row_and_the_input_are_named():
    error = explain(signature("float32", "x", "y"), [{"x": [1, 2], "y": [1, "a"]}])
    assert error is not None
    assert error.startswith("Failed to process element: 0 key: y of 'instances' list.")


def test_rows_of_two_forms_are_refused():
    with pytest.raises(BodyInvalid, match="Expecting object but got list at item 1"):
        check_rows(signature(), [{"x": [1, 2]}, [1, 2]])
    with pytest.raises(BodyInvalid, match="plain list"):
        check_rows(signature("float32", "x", "y"), [[1, 2]])


def test_a_large_value_is_written_shortened():
    assert show([1, "a"]) == '[\n    1,\n    "a"\n]'
    assert len(show(list(range(100_000)))) == 257
