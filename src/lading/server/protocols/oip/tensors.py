"""Tensors as the Open Inference Protocol writes them: datatypes, shapes, raw bytes, classification.

Shared by REST and gRPC; knows neither. Source: the protocol, and Triton's extensions for binary tensors
and classification.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from math import prod

import numpy as np

from lading.errors import BodyInvalid, LadingError, ShapeRefused, ValueRefused
from lading.server.inference.version import ServedVersion
from lading.signature import Array, DType, Tensor

DATATYPES: dict[DType, str] = {
    "bool": "BOOL",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}

_LENGTH = struct.Struct("<I")
_MOST_VALUES = 2**48


def wire_shape(tensor: Tensor) -> list[int]:
    """Return the shape as metadata has it: -1 for every dynamic dimension."""
    return [size if isinstance(size, int) else -1 for size in tensor.shape]


def check_declared(tensor: Tensor, datatype: str, shape: Sequence[int]) -> None:
    """Check the datatype and shape that a request declares; raises `ValueRefused`, `ShapeRefused`."""
    expected = DATATYPES[tensor.dtype]
    if datatype != expected:
        raise ValueRefused(f"input `{tensor.name}`", expected=f"datatype `{expected}`", found=f"`{datatype}`")
    if len(shape) != len(tensor.shape):
        raise _shape_refused(tensor, shape)
    values = 1
    for size, dimension in zip(shape, tensor.shape, strict=True):
        if size < 0 or (dimension != size and not isinstance(dimension, str)):
            raise _shape_refused(tensor, shape)
        # A size of 0 counts as 1: numpy multiplies the other sizes before it looks for a 0.
        values *= size or 1
    # Refused before numpy is asked for more than memory can hold.
    if values > _MOST_VALUES:
        raise _shape_refused(tensor, shape)


def from_bytes(tensor: Tensor, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """Return `data`, little-endian and row-major, as the tensor of `shape`; only strings are copied.

    Raises `ShapeRefused`, `ValueRefused`.
    """
    count = prod(shape)
    if tensor.dtype == "string":
        return _read_strings(tensor, count, data).reshape(shape)
    dtype = tensor.numpy_dtype
    if len(data) != count * dtype.itemsize:
        raise wrong_size(tensor, f"{count * dtype.itemsize} bytes for shape `{list(shape)}`", len(data))
    array: Array = np.frombuffer(data, dtype).reshape(shape)
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise ValueRefused(f"input `{tensor.name}`", expected="bytes 0 and 1", found="another byte")
    # Behind JSON of any length an array may begin at an odd address, which the runtime cannot read.
    return array if array.flags.aligned else array.copy()


def to_bytes(array: Array) -> bytes:
    """Write an array as raw bytes; each string after its length in four bytes."""
    if array.dtype.kind != "O":
        return array.tobytes()
    encoded = [text.encode() for text in array.ravel().tolist()]
    return b"".join([part for text in encoded for part in (_LENGTH.pack(len(text)), text)])


def raw_shape(tensor: Tensor, size: int) -> list[int]:
    """Return the shape of a body of `size` bytes that is one tensor and nothing else.

    Such a body is one row, whose length decides at most one dynamic dimension; a string is the whole body.
    Raises `BodyInvalid` if the shape does not follow from the length.
    """
    fixed = [dimension for dimension in tensor.shape if isinstance(dimension, int)]
    dynamic = [name for name in tensor.shape[1 if tensor.batched else 0 :] if isinstance(name, str)]
    if len(dynamic) > 1 or (tensor.dtype == "string" and prod(fixed) != 1):
        raise BodyInvalid(
            "raw body",
            expected="an input with at most one dynamic dimension, or one string",
            found=f"`{tensor}`",
            hint="send JSON with the shape, and the tensor behind it",
        )
    unit = prod(fixed) * (tensor.numpy_dtype.itemsize if tensor.dtype != "string" else size or 1)
    sizes = dict.fromkeys(dynamic, size // unit if unit else 0)
    # The batch dimension is in no dict: it is 1.
    return [
        dimension if isinstance(dimension, int) else sizes.get(dimension, 1) for dimension in tensor.shape
    ]


def classify(served: ServedVersion, tensor: Tensor, array: Array, count: int) -> Array:
    """Return the `count` highest values of each row as ``value:index`` or ``value:index:label``."""
    if array.dtype.kind not in "iuf":
        raise ValueRefused(
            f"output `{tensor.name}`", expected="numbers to classify by", found=f"`{tensor.dtype}`"
        )
    rows = array.reshape(len(array), -1) if tensor.batched else array.reshape(1, -1)  # [rows, values]
    count = min(count, rows.shape[1])
    # Stable, so that of equal values the one with the lower index comes first.
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]  # [rows, count]
    suffixes = [f":{served.labels.get(column, column)}" for column in tensor.columns]
    if len(suffixes) != rows.shape[1]:
        suffixes = [""] * rows.shape[1]
    form = "f" if array.dtype.kind == "f" else "d"
    texts = np.empty(best.shape, object)
    for row, place in np.ndindex(*best.shape):
        index = int(best[row, place])
        texts[row, place] = f"{rows[row, index]:{form}}:{index}{suffixes[index]}"
    return texts if tensor.batched else texts[0]


def wrong_size(tensor: Tensor, expected: str, size: int) -> LadingError:
    """Return the error of a tensor with more or fewer bytes or elements than its shape has."""
    return ShapeRefused(f"input `{tensor.name}`", expected=expected, found=str(size))


def _shape_refused(tensor: Tensor, shape: Sequence[int]) -> LadingError:
    return ShapeRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"shape `{list(shape)}`")


def _read_strings(tensor: Tensor, count: int, data: bytes | memoryview) -> Array:
    # Before the loop, so that a large count in a small body costs nothing.
    if count * _LENGTH.size > len(data):
        raise wrong_size(tensor, f"{count} strings, each behind its length", len(data))
    texts, at, view = [], 0, memoryview(data)
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(view, at)
            at += _LENGTH.size + length
            if at > len(view):
                raise wrong_size(tensor, f"{at} bytes at least", len(view))
            texts.append(str(view[at - length : at], "utf-8"))
    except struct.error:
        raise wrong_size(tensor, f"{count} strings, each behind its length", len(data)) from None
    except UnicodeDecodeError:
        raise not_text(tensor, len(texts)) from None
    if at != len(view):
        raise wrong_size(tensor, f"{at} bytes in {count} strings", len(view))
    return string_array(texts)


def decode_base64(tensor: Tensor, text: str, at: int) -> str:
    """Return the text that element `at` of `tensor`, in base64, stands for; raises `ValueRefused`."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except UnicodeDecodeError:
        raise not_text(tensor, at) from None
    except (binascii.Error, ValueError):
        text = f"other text in element {at}"
        raise ValueRefused(f"input `{tensor.name}`", expected="base64, as declared", found=text) from None


def not_text(tensor: Tensor, at: int) -> LadingError:
    """Return the error of element `at` of `tensor`, which is not UTF-8."""
    return ValueRefused(f"input `{tensor.name}`", expected="UTF-8", found=f"other bytes in element {at}")


def string_array(texts: Sequence[str]) -> Array:
    """Return `texts` as an object array; by itself numpy would choose a fixed-width dtype."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array
