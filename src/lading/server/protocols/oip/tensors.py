"""Tensors as the Open Inference Protocol writes them: datatypes, shapes, raw bytes, classification.

Shared by REST and gRPC; knows neither. Bytes are little-endian and row-major, as in memory, so that arrays
are views of a request's body. Source: the protocol, and Triton's binary tensor and classification extensions.
"""

from __future__ import annotations

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
    """Check the datatype and shape that a request gives; raises `ValueRefused`, `ShapeRefused`."""
    wanted = DATATYPES[tensor.dtype]
    if datatype != wanted:
        raise ValueRefused(f"input `{tensor.name}`", expected=f"datatype `{wanted}`", found=f"`{datatype}`")
    if len(shape) != len(tensor.shape):
        raise _shape_refused(tensor, shape)
    values = 1
    for size, want in zip(shape, tensor.shape, strict=True):
        if size < 0 or (want != size and not isinstance(want, str)):
            raise _shape_refused(tensor, shape)
        values *= size or 1
    # More than memory can hold is refused before numpy is asked for it, empty dimensions or not.
    if values > _MOST_VALUES:
        raise _shape_refused(tensor, shape)


def from_bytes(tensor: Tensor, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """View `data` as the tensor of `shape`; copies strings only. Raises `ShapeRefused`, `ValueRefused`."""
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
    """Write an array as raw bytes; strings each behind their length."""
    if array.dtype.kind != "O":
        return array.tobytes()
    encoded = [text.encode() for text in array.ravel().tolist()]
    return b"".join([part for text in encoded for part in (_LENGTH.pack(len(text)), text)])


def raw_shape(tensor: Tensor, size: int) -> list[int]:
    """Find the shape of a raw request of `size` bytes: one row, at most one dimension left to find.

    Strings: one element, the whole body. Raises `BodyInvalid` where the shape cannot be told.
    """
    known = [size for size in tensor.shape if isinstance(size, int)]
    free = [name for name in tensor.shape[1 if tensor.batched else 0 :] if isinstance(name, str)]
    if len(free) > 1 or (tensor.dtype == "string" and prod(known) != 1):
        raise BodyInvalid(
            "raw body",
            expected="an input with at most one dynamic dimension, or one string",
            found=f"`{tensor}`",
            hint="send JSON with the shape, and the tensor behind it",
        )
    unit = prod(known) * (tensor.numpy_dtype.itemsize if tensor.dtype != "string" else size or 1)
    rest = size // unit if unit else 0
    sizes = dict.fromkeys(free, rest)
    return [one if isinstance(one, int) else sizes.get(one, 1) for one in tensor.shape]


def classify(served: ServedVersion, tensor: Tensor, array: Array, most: int) -> Array:
    """Write the `most` highest values of each row as strings: ``value:index`` or ``value:index:label``."""
    if array.dtype.kind not in "iuf":
        raise ValueRefused(
            f"output `{tensor.name}`", expected="numbers to classify by", found=f"`{tensor.dtype}`"
        )
    rows = array.reshape(len(array), -1) if tensor.batched else array.reshape(1, -1)
    most = min(most, rows.shape[1])
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :most]
    names = [f":{served.labels.get(column, column)}" for column in tensor.columns]
    names = names if len(names) == rows.shape[1] else [""] * rows.shape[1]
    kind = "f" if array.dtype.kind == "f" else "d"
    found = np.empty(best.shape, object)
    for row, at in np.ndindex(*best.shape):
        index = int(best[row, at])
        found[row, at] = f"{rows[row, index]:{kind}}:{index}{names[index]}"
    return found if tensor.batched else found[0]


def wrong_size(tensor: Tensor, expected: str, found: int) -> LadingError:
    """Say that the bytes or elements given for `tensor` are not as many as its shape says."""
    return ShapeRefused(f"input `{tensor.name}`", expected=expected, found=str(found))


def _shape_refused(tensor: Tensor, shape: Sequence[int]) -> LadingError:
    return ShapeRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"shape `{list(shape)}`")


def _read_strings(tensor: Tensor, count: int, data: bytes | memoryview) -> Array:
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
    return strings(texts)


def not_text(tensor: Tensor, at: int) -> LadingError:
    """Say that element `at` of `tensor` is no text."""
    return ValueRefused(f"input `{tensor.name}`", expected="UTF-8", found=f"other bytes in element {at}")


def strings(texts: Sequence[str]) -> Array:
    """Make the array of `texts`; numpy would make one of another dtype by itself."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array
