"""Tensors as JSON: values nested or flat, NaN and infinities as bare tokens, as Triton has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import msgspec
import numpy as np
import orjson

from lading.errors import EmptyInput, LadingError, ShapeRefused, ValueRefused
from lading.server.protocols.oip.tensors import wrong_size
from lading.signature import Array, DType, Tensor, cast_json


def read_data(tensor: Tensor, shape: Sequence[int], data: Any, path: str) -> Array:
    """Turn ``data`` (JSON text or a parsed value) into the tensor of `shape`.

    Raises `ValueRefused` and `ShapeRefused` with the path of the first offender.
    """
    if isinstance(data, msgspec.Raw):
        quick = _quick(tensor, data)
        if quick is not None:
            if quick.size != prod(shape):
                raise wrong_size(tensor, f"{prod(shape)} values at `{path}`", quick.size)
            return quick.reshape(shape)
        data = msgspec.json.decode(data)
    if not isinstance(data, list):
        data = [data] if not shape else data
    nested = isinstance(data, list) and bool(data) and isinstance(data[0], list)
    if nested and _depth(data) == len(shape):
        return _cast(tensor, msgspec.structs.replace(tensor, shape=tuple(shape)), data, path)
    flat = _flatten(data) if nested else data
    if isinstance(flat, list) and len(flat) != prod(shape):
        raise wrong_size(tensor, f"{prod(shape)} values at `{path}`", len(flat))
    row = msgspec.structs.replace(tensor, shape=(prod(shape),))
    return _cast(tensor, row, flat, path).reshape(shape)


def write_data(array: Array) -> orjson.Fragment:
    """Write the values of `array` as one flat list."""
    flat = np.ascontiguousarray(array).reshape(-1)
    kind = flat.dtype.kind
    if kind == "f" and not np.isfinite(flat).all():
        return orjson.Fragment(json.dumps(flat.tolist()))
    return orjson.Fragment(
        orjson.dumps(flat.tolist() if kind == "O" else flat, option=orjson.OPT_SERIALIZE_NUMPY)
    )


def loads_with_nan(text: bytes | memoryview) -> Any:
    """Parse JSON that holds the tokens NaN, Infinity or -Infinity; raises `ValueError`."""
    return json.loads(bytes(text))


@cache
def _decoder(dtype: DType) -> msgspec.json.Decoder[Any]:
    kinds: dict[str, Any] = {"b": bool, "O": str, "f": float, "i": int, "u": int}
    kind = kinds[np.dtype(object if dtype == "string" else dtype).kind]
    return msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]


def _quick(tensor: Tensor, text: msgspec.Raw) -> Array | None:
    """Read a flat list in one typed pass; None where it is not plainly one, or a value needs a look."""
    try:
        with np.errstate(over="ignore"):
            array = np.array(_decoder(tensor.dtype).decode(text), tensor.numpy_dtype)
    except (msgspec.DecodeError, ValueError, OverflowError):
        return None
    return array if array.dtype.kind != "f" or np.isfinite(array).all() else None


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
