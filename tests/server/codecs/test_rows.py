"""The typed reader of rows accepts what the signature accepts, with the same values."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.server.codecs.rows import quick_reader
from lading.signature import DTYPES, Signature, Tensor


def signature(dtype: str = "float32", columns: int = 3) -> Signature:
    tensor = Tensor(name="X", dtype=dtype, shape=("batch", columns))
    return Signature(inputs=(tensor,), outputs=(tensor,))


numbers = (
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e39, 65520.0, 2**63])
)


values = numbers | st.booleans() | st.none() | st.text(max_size=3) | st.lists(numbers, max_size=2)


rows = st.lists(st.lists(values, min_size=2, max_size=4), max_size=4)


@pytest.mark.slow
@settings(max_examples=400)
@given(st.sampled_from([dtype for dtype in DTYPES if dtype != "string"]), rows)
def test_the_quick_reader_reads_the_values_that_the_signature_reads(dtype, rows):
    quick = quick_reader(signature(dtype))
    assert quick is not None
    try:
        inputs, count, beside = quick(json.dumps({"data": rows}).encode())
    except ValueError:
        return
    cast = signature(dtype).cast_rows(rows)
    np.testing.assert_array_equal(inputs["X"], cast["X"])
    assert inputs["X"].dtype == cast["X"].dtype
    assert (count, beside) == (len(rows), None)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=1,
    )
)
def test_plain_rows_are_always_read_in_one_pass(rows):
    quick = quick_reader(signature())
    assert quick is not None
    inputs, _, _ = quick(json.dumps({"data": rows}).encode())
    np.testing.assert_array_equal(inputs["X"], np.array(rows, np.float32))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(name="X", dtype="string", shape=("batch",)),
        Tensor(name="X", dtype="float32", shape=("batch",), allows_nan=True),
        Tensor(name="X", dtype="float32", shape=(3,)),
    ],
)
def test_a_signature_without_a_typed_form_has_no_quick_reader(tensor):
    assert quick_reader(Signature((tensor,), (tensor,))) is None


def test_the_keys_of_a_body_are_the_callers_choice():
    read = quick_reader(signature(), rows="instances", beside=("signature_name", str, ""))
    assert read is not None
    inputs, count, name = read(b'{"signature_name": "x", "instances": [[1, 2, 3]]}')
    assert (inputs["X"].tolist(), count, name) == ([[1, 2, 3]], 1, "x")
    with pytest.raises(msgspec.ValidationError):
        read(b'{"data": [[1, 2, 3]]}')
