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

from lading.errors import ShapeRefused, ValueRefused
from lading.server.codecs.rows import value_type
from lading.server.codecs.simd import LEAST_BYTES, number_reader
from lading.server.protocols import DECODE_ERRORS, decode_error_text
from lading.server.protocols.oip.tensors import wrong_size
from lading.signature import Array, DType, Tensor, cast_json

_DEEPEST = 64
"""Most dimensions that an array of numpy has."""


def read_data(tensor: Tensor, shape: Sequence[int], data: Any, path: str) -> Array:
    """Turn ``data`` (JSON text or a parsed value) into the tensor of `shape`.

    Raises `ValueRefused` and `ShapeRefused` with the path of the first offender.
    """
    if isinstance(data, msgspec.Raw):
        array = _quick(tensor, data, shape)
        if array is not None:
            if array.shape == tuple(shape):
                return array
            if array.ndim == 1:
                if array.size != prod(shape):
                    raise wrong_size(tensor, f"{prod(shape)} values at `{path}`", array.size)
                return array.reshape(shape)
        # A value is wrong, or nested in another way: the general reader finds out which.
        data = _parse(data, tensor, path)
    # A scalar may be written bare.
    if not isinstance(data, list):
        data = [data] if not shape else data
    is_nested = isinstance(data, list) and bool(data) and isinstance(data[0], list)
    if is_nested and _depth(data) == len(shape):
        return cast_json(tensor, data, path, shape=tuple(shape))
    # The protocol allows values to be nested in any way or flat, in row-major order.
    values = _flatten(tensor, data, path) if is_nested else data
    if isinstance(values, list) and len(values) != prod(shape):
        raise wrong_size(tensor, f"{prod(shape)} values at `{path}`", len(values))
    return cast_json(tensor, values, path, shape=(prod(shape),)).reshape(shape)


def _parse(text: msgspec.Raw, tensor: Tensor, path: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        reason = f"what cannot be read at `{path}`: {decode_error_text(error)}"
        raise ValueRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=reason) from None


def dumps(value: Any) -> bytes:
    """Write a value that holds numpy arrays and strings; NaN and infinities as bare tokens."""
    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes NaN and infinities as null. Nothing else here is null, but a string may hold the word.
    if b"null" not in text:
        return text
    return json.dumps(value, default=_to_list, ensure_ascii=False, separators=(",", ":")).encode()


def dumps_with_null(value: Any) -> bytes:
    """Write a value that holds numpy arrays and strings; NaN and infinities as null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def flat(array: Array) -> Any:
    """Return the values of `array` in one list, as `dumps` takes them."""
    values = array.reshape(-1)
    return values.tolist() if values.dtype.kind == "O" else values


def _to_list(value: Array) -> Any:
    return value.tolist()


@cache
def _decoder(dtype: DType, bound: float, depth: int) -> Callable[[msgspec.Raw], Any]:
    kind: Any = value_type(dtype, bound)
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode


def _quick(tensor: Tensor, text: msgspec.Raw, shape: Sequence[int]) -> Array | None:
    """Read a list, flat or nested, in one typed pass; None if it is neither or a value is not plain."""
    view = memoryview(text)
    if len(view) >= LEAST_BYTES and tensor.dtype in ("float32", "float64") and 0 not in shape:
        array = number_reader(tensor.dtype, tensor.bound).tensor(view, shape)
        if array is not None:
            return array
    # Text with a space there is left to the general reader, which is slower and nothing else.
    is_nested = len(shape) > 1 and bytes(view[1:2]) == b"["
    try:
        values = _decoder(tensor.dtype, tensor.bound, len(shape) if is_nested else 1)(text)
        return np.array(values, tensor.numpy_dtype)
    except ValueError:
        return None


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


def _flatten(tensor: Tensor, values: list[Any], path: str) -> list[Any]:
    """Return the values of nested lists in their order; each is looked at once, however deep it is."""
    flat: list[Any] = []
    levels = [iter(values)]
    while levels:
        for value in levels[-1]:
            if isinstance(value, list):
                levels.append(iter(value))
                if len(levels) > _DEEPEST:
                    raise ShapeRefused(
                        f"input `{tensor.name}`",
                        expected=f"lists at most {_DEEPEST} deep at `{path}`",
                        found="deeper ones",
                    )
                break
            flat.append(value)
        else:
            levels.pop()
    return flat
