"""The readers of many numbers: the same values as the signature, and nothing but numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from lading.errors import InputError
from lading.server.codecs.rows import quick_reader
from lading.server.codecs.simd import LEAST_BYTES, NumberReader, matrix_reader
from lading.signature import Signature, Tensor


def signature(dtype: str = "float32", columns: int = 3) -> Signature:
    tensor = Tensor(name="X", dtype=dtype, shape=("batch", columns))
    return Signature(inputs=(tensor,), outputs=(tensor,))


def large(rows: list, columns: int = 3) -> bytes:
    """Write a body that is large enough for the matrix reader: good rows, then `rows`."""
    good = [[1.5] * columns] * (LEAST_BYTES // 8)
    return json.dumps({"data": good + rows}).encode()


# Each breaks another thing that the matrix reader proves; the last ones keep the number of values.
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
def test_a_body_that_is_no_matrix_is_refused_with_its_place(rows):
    body = large(rows)
    tensor = signature().inputs[0]
    reader = matrix_reader(tensor)
    assert reader is not None
    read = reader.matrix(body, "data", 3)
    if rows == [[1, 2, 10**30]]:
        assert read is None, "wider than simdjson's integers: read the general way"
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
        matrix = reader.matrix(body, "data", 3)
        assert matrix is not None
        np.testing.assert_array_equal(matrix, signature().cast_rows(data)["X"])


def test_a_body_with_further_keys_is_left_to_the_typed_pass():
    body = large([])[:-1] + b', "outputs": ["label"]}'
    reader = matrix_reader(signature().inputs[0])
    assert reader is not None
    assert reader.matrix(body, "data", 3) is None
    quick = quick_reader(signature())
    assert quick is not None
    assert quick(body)[2] == ("label",)


@pytest.mark.parametrize("shape", [(500, 3), (1500,), (30, 50), (5, 100, 3)])
def test_a_large_tensor_is_read_flat_or_by_rows(shape):
    values = np.random.default_rng(4).standard_normal(1500).round(6)
    reader = NumberReader(np.dtype("float32"))
    expected = values.astype(np.float32).reshape(shape)
    flat = reader.tensor(memoryview(json.dumps(values.tolist()).encode()), shape)
    assert flat is not None
    np.testing.assert_array_equal(flat, expected)
    nested = reader.tensor(memoryview(json.dumps(values.reshape(shape).tolist()).encode()), shape)
    if len(shape) == 3:
        assert nested is None, "deeper than rows: read the general way"
    else:
        np.testing.assert_array_equal(nested, expected)


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
def test_text_that_is_not_the_tensor_is_left_to_the_general_way(text):
    reader = NumberReader(np.dtype("float32"))
    assert reader.tensor(memoryview(text.encode()), (2, 3)) is None
    assert reader.tensor(memoryview(text.encode()), ()) is None
    good = reader.tensor(memoryview(b"[[1, 2, 3], [4, 5, 6]]"), (2, 3))
    assert good is not None
    assert good.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_every_thread_has_a_parser_of_its_own():
    reader = NumberReader(np.dtype("float64"))
    text = memoryview(json.dumps(list(range(2000))).encode())
    with ThreadPoolExecutor(4) as threads:
        arrays = list(threads.map(lambda _: reader.tensor(text, (2000,)), range(100)))
    for array in arrays:
        assert array is not None
        assert array.tolist() == list(range(2000))


READ_A_VERY_LARGE_BODY = """
from pathlib import Path

import numpy as np

from lading.server.codecs.simd import NumberReader

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

reader = NumberReader(np.dtype("float32"))
text = b'{"data":[' + b",".join([b"[1.5,2.5,3.5]"] * 1_700_000) + b"]}"
before = resident_mb()
assert reader.matrix(text, "data", 3).shape == (1_700_000, 3)
print(resident_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_very_large_body_took_is_returned():
    """In a process of its own: the memory of one that has run a thousand tests has holes of any size."""
    command = [sys.executable, "-c", READ_A_VERY_LARGE_BODY]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert float(ran.stdout) < 80
