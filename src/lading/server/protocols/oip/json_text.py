"""Tensors as JSON: values nested or flat, NaN and infinities as bare tokens, as Triton has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import msgspec
import numpy as np
import orjson

from lading.errors import EmptyInput, LadingError, ShapeRefused, ValueRefused
from lading.server.codecs.rows import value_type
from lading.server.codecs.simd import LEAST_BYTES, number_reader
from lading.server.protocols import UNREADABLE, unread
from lading.server.protocols.oip.tensors import wrong_size
from lading.signature import Array, DType, Tensor, cast_json


def read_data(tensor: Tensor, shape: Sequence[int], data: Any, path: str) -> Array:
    """Turn ``data`` (JSON text or a parsed value) into the tensor of `shape`.

    Raises `ValueRefused` and `ShapeRefused` with the path of the first offender.
    """
    if isinstance(data, msgspec.Raw):
        quick = _quick(tensor, data, shape)
        if quick is not None:
            if quick.shape == tuple(shape):
                return quick
            if quick.ndim == 1:
                if quick.size != prod(shape):
                    raise wrong_size(tensor, f"{prod(shape)} values at `{path}`", quick.size)
                return quick.reshape(shape)
        data = _parsed(data, tensor, path)
    if not isinstance(data, list):
        data = [data] if not shape else data
    nested = isinstance(data, list) and bool(data) and isinstance(data[0], list)
    if nested and _depth(data) == len(shape):
        return _cast(tensor, msgspec.structs.replace(tensor, shape=tuple(shape)), data, path)
    values = _flatten(data) if nested else data
    if isinstance(values, list) and len(values) != prod(shape):
        raise wrong_size(tensor, f"{prod(shape)} values at `{path}`", len(values))
    row = msgspec.structs.replace(tensor, shape=(prod(shape),))
    return _cast(tensor, row, values, path).reshape(shape)


def _parsed(text: msgspec.Raw, tensor: Tensor, path: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except UNREADABLE as error:
        found = f"what cannot be read at `{path}`: {unread(error)}"
        raise ValueRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=found) from None


def dumps(value: Any) -> bytes:
    """Write a value that holds numpy arrays and strings; numbers that JSON does not have as bare tokens."""
    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" not in text:
        return text
    # orjson writes NaN and infinities as null; nothing else here is ever null, but a text may hold the word.
    return json.dumps(value, default=_listed, ensure_ascii=False, separators=(",", ":")).encode()


def flat(array: Array) -> Any:
    """Return the values of `array` as `dumps` takes them, in one list."""
    values = array.reshape(-1)
    return values.tolist() if values.dtype.kind == "O" else values


def _listed(value: Array) -> Any:
    return value.tolist()


@cache
def _decoder(dtype: DType, depth: int) -> Callable[[msgspec.Raw], Any]:
    kind: Any = value_type(dtype)
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode


def _quick(tensor: Tensor, text: msgspec.Raw, shape: Sequence[int]) -> Array | None:
    """Read a list, flat or nested, in one typed pass; None where it is neither, or a value needs a look."""
    view = memoryview(text)
    if len(view) >= LEAST_BYTES and tensor.dtype in ("float32", "float64") and 0 not in shape:
        array = number_reader(tensor.dtype).tensor(view, shape)
        if array is not None:
            return array
    nested = len(shape) > 1 and bytes(view[1:2]) == b"["
    try:
        values = _decoder(tensor.dtype, len(shape) if nested else 1)(text)
        return np.array(values, tensor.numpy_dtype)
    except ValueError:
        return None


def _cast(tensor: Tensor, shaped: Tensor, value: Any, path: str) -> Array:
    """Cast by the declared shape, and speak of the tensor as the signature has it."""
    try:
        return cast_json(shaped, value, path)
    except (ValueRefused, ShapeRefused, EmptyInput) as error:
        raise _renamed(error, tensor) from None


def _renamed(error: LadingError, tensor: Tensor) -> LadingError:
    return type(error)(f"input `{tensor.name}`", expected=f"`{tensor}`", found=error.found, hint=error.hint)


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


def _flatten(value: list[Any]) -> list[Any]:
    flat = value
    while any(isinstance(one, list) for one in flat):
        flat = [item for one in flat for item in (one if isinstance(one, list) else [one])]
    return flat
