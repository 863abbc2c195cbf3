"""The quick readers take what the signature takes, the same values, and nothing else."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.errors import InputError
from lading.server.codecs.rows import quick_reader
from lading.server.codecs.simd import LEAST_BYTES, NumberReader, matrix_reader
from lading.signature import DTYPES, Signature, Tensor


def signature(dtype: str = "float32", columns: int = 3) -> Signature:
    tensor = Tensor(name="X", dtype=dtype, shape=("batch", columns))
    return Signature(inputs=(tensor,), outputs=(tensor,))


numbers = (
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([1e39, 65520.0, 2**63])
)
values = numbers | st.booleans() | st.none() | st.text(max_size=3) | st.lists(numbers, max_size=2)
floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows = st.lists(st.lists(values, min_size=2, max_size=4), max_size=4)


@settings(max_examples=400)
@given(st.sampled_from([one for one in DTYPES if one != "string"]), rows)
def test_what_the_quick_reader_takes_the_signature_takes_with_the_same_values(dtype, rows):
    quick = quick_reader(signature(dtype))
    assert quick is not None
    try:
        inputs, count, beside = quick(json.dumps({"data": rows}).encode())
    except ValueError:
        return
    slow = signature(dtype).cast_rows(rows)
    np.testing.assert_array_equal(inputs["X"], slow["X"])
    assert inputs["X"].dtype == slow["X"].dtype
    assert (count, beside) == (len(rows), None)


@settings(max_examples=300)
@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
        min_size=1,
    )
)
def test_plain_rows_are_always_taken_quickly(rows):
    quick = quick_reader(signature())
    assert quick is not None
    inputs, _, _ = quick(json.dumps({"data": rows}).encode())
    np.testing.assert_array_equal(inputs["X"], np.array(rows, np.float32))


def large(rows: list, columns: int = 3) -> bytes:
    """Write a body that is large enough for the matrix reader: good rows, then `rows`."""
    good = [[1.5] * columns] * (LEAST_BYTES // 8)
    return json.dumps({"data": good + rows}).encode()


# Each breaks what the matrix reader proves in another way; the last ones keep the number of values.
BROKEN = [
    [[1, 2]],
    [[1, 2, 3, 4], [5, 6]],
    [[1, 2, "3"]],
    [[1, 2, True]],
    [[1, 2, None]],
    [[1, 2, 1e39]],
    [[1, 2, 10**30]],
    [[[1], 2, 3]],
    [[[], 1, 2], [[1, 2], 3, 4]],
    [[1, [2, 3], 4], 5],
    [[1, 2, {}]],
    [1, 2, 3],
]


@pytest.mark.parametrize("rows", BROKEN)
def test_what_is_no_matrix_is_refused_with_its_place(rows):
    body = large(rows)
    tensor = signature().inputs[0]
    reader = matrix_reader(tensor)
    assert reader is not None
    read = reader.matrix(body, "data", 3)
    if rows == [[1, 2, 10**30]]:
        assert read is None, "wider than simdjson's integers: read the usual way"
        return
    assert read is None
    quick = quick_reader(signature())
    assert quick is not None
    with pytest.raises(ValueError, match=r".") as refused:
        quick(body)
    assert isinstance(refused.value, msgspec.DecodeError | ValueError)
    with pytest.raises(InputError, match=r"\$\.data\["):
        signature().cast_rows(json.loads(body)["data"])


def test_a_large_matrix_is_read_as_the_signature_reads_it():
    random = np.random.default_rng(3)
    data = random.standard_normal((500, 3)).round(6).tolist()
    body = json.dumps({"data": data}, indent=1).encode()
    reader = matrix_reader(signature().inputs[0])
    assert reader is not None
    for _ in range(3):  # The parser is used again.
        found = reader.matrix(body, "data", 3)
        assert found is not None
        np.testing.assert_array_equal(found, signature().cast_rows(data)["X"])


def test_keys_beside_the_rows_are_left_to_the_usual_way():
    body = large([])[:-1] + b', "outputs": ["label"]}'
    reader = matrix_reader(signature().inputs[0])
    assert reader is not None
    assert reader.matrix(body, "data", 3) is None
    quick = quick_reader(signature())
    assert quick is not None
    assert quick(body)[2] == ("label",)


@pytest.mark.parametrize("shape", [(500, 3), (1500,), (30, 50), (5, 100, 3)])
def test_a_large_tensor_is_read_flat_and_by_rows_where_it_has_rows(shape):
    values = np.random.default_rng(4).standard_normal(1500).round(6)
    reader = NumberReader(np.dtype("float32"))
    wanted = values.astype(np.float32).reshape(shape)
    flat = reader.tensor(memoryview(json.dumps(values.tolist()).encode()), shape)
    assert flat is not None
    np.testing.assert_array_equal(flat, wanted)
    nested = reader.tensor(memoryview(json.dumps(values.reshape(shape).tolist()).encode()), shape)
    if len(shape) == 3:
        assert nested is None, "deeper than rows: read the usual way"
    else:
        np.testing.assert_array_equal(nested, wanted)


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "null",
        '"text"',
        "{}",
        "[]",
        "[1, 2]",
        "[[1, 2, 3], [4, 5]]",
        "[1, [2, 3], 4, 5, 6, 7]",
        "[1, 2, 3, 4, 5, null]",
        "[1, 2, 3, 4, 5, 1e300]",
        "[1, 2, 3, 4, 5,",
        "[true, 2, 3, 4, 5, 6]",
        "[1, 2, 3, 4, 5, 6, 7]",
        "[[[1, 2, 3], [4, 5, 6]]]",
    ],
)
def test_what_is_not_that_tensor_is_left_to_the_usual_way(text):
    reader = NumberReader(np.dtype("float32"))
    assert reader.tensor(memoryview(text.encode()), (2, 3)) is None
    assert reader.tensor(memoryview(text.encode()), ()) is None
    good = reader.tensor(memoryview(b"[[1, 2, 3], [4, 5, 6]]"), (2, 3))
    assert good is not None
    assert good.tolist() == [[1, 2, 3], [4, 5, 6]]
