"""TensorFlow Serving's error messages for JSON, determined by walking the value as that server does.

The rules and sentences are those of ``tensorflow_serving/util/json_tensor.cc``. Only text comes out of here,
no tensor. Values are shortened, because a whole body in a message helps nobody.
"""

from __future__ import annotations

import json
from math import prod
from typing import Any

from lading.errors import BodyInvalid
from lading.signature import Signature, Tensor

TYPES = {"float32": "float", "float64": "double", "float16": "half"}
"""TensorFlow's names of dtypes that differ from numpy's."""

_LONGEST_TEXT = 256
# It reads the narrow integers as int32 and casts them.
_RANGES = {
    "int8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
# The largest integer and the largest magnitude that a float holds without loss.
_LARGEST = {"float32": (2**24 - 1, 3.4028234663852886e38), "float64": (2**53 - 1, 1.7976931348623157e308)}


_encoder = json.JSONEncoder(indent=4, ensure_ascii=False)


class _Refusal(Exception):
    """Carries the message up from where the walk stopped."""


def show(value: Any) -> str:
    """Write a JSON value as TensorFlow Serving does, shortened."""
    text = ""
    for piece in _encoder.iterencode(value):  # Stops early: a body may be large.
        text += piece
        if len(text) > _LONGEST_TEXT:
            return f"{text[:_LONGEST_TEXT]}…"
    return text


def type_name(dtype: str) -> str:
    """Return TensorFlow's name of a dtype."""
    return TYPES.get(dtype, dtype)


def largest_integer(dtype: str) -> int | None:
    """Return the largest JSON integer that TensorFlow Serving accepts for a float dtype; None for others."""
    return _LARGEST[dtype][0] if dtype in _LARGEST else None


def is_base64(value: object) -> bool:
    """Return whether a JSON value is ``{"b64": "…"}``, which stands for a string."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def is_object(value: object) -> bool:
    """Return whether a JSON value is an object and no base64 string."""
    return isinstance(value, dict) and not is_base64(value)


def check_rows(signature: Signature, instances: list[Any]) -> None:
    """Raise `BodyInvalid` unless all rows are objects with the inputs' names, or values of the only input."""
    names = sorted(tensor.name for tensor in signature.inputs)
    # As in that server, the first row decides which form all rows have.
    objects = is_object(instances[0])
    if not objects and len(names) > 1:
        raise BodyInvalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            "as per tensorinfo_map"
        )
    for at, row in enumerate(instances):
        if objects and not is_object(row):
            raise BodyInvalid(f"Expecting object but got list at item {at} of input list")
        if not objects and is_object(row):
            raise BodyInvalid(f"Expecting value/list but got object at item {at} of input list")
        if objects and sorted(row) != names:
            raise BodyInvalid(
                f"Failed to process element: {at} of 'instances' list. JSON object: {show(row)} "
                f"keys must be equal to: {','.join(names)}"
            )


def explain(signature: Signature, value: Any) -> str | None:
    """Return why TensorFlow Serving refuses rows or whole inputs, or None if it accepts them."""
    try:
        if isinstance(value, dict):
            for tensor in signature.inputs:
                _walk_tensor(tensor, value[tensor.name])
        else:
            _walk_rows(signature, value)
    except _Refusal as refusal:
        return str(refusal)
    return None


def _walk_rows(signature: Signature, rows: list[Any]) -> None:
    shapes: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        named = is_object(row)
        for tensor in signature.inputs:
            where = f"element: {at} key: {tensor.name}" if named else f"element: {at}"
            try:
                _walk_row(tensor, row[tensor.name] if named else row, shapes)
            except _Refusal as refusal:
                raise _Refusal(f"Failed to process {where} of 'instances' list. Error: {refusal}") from None


def _walk_row(tensor: Tensor, value: Any, shapes: dict[str, list[int]]) -> None:
    shape = _walk_tensor(tensor, value)
    first = shapes.setdefault(tensor.name, shape)  # The first row decides the shape of all.
    if prod(first) != prod(shape):
        raise _Refusal(f"Expecting tensor size: {prod(first)} but got: {prod(shape)}")
    if first != shape:
        raise _Refusal(f"Expecting shape {_shape_text(first)} but got: {_shape_text(shape)}")


def _walk_tensor(tensor: Tensor, value: Any) -> list[int]:
    """Return the shape of nested lists, which the first list of each level decides; all others must fit."""
    shape: list[int] = []
    part = value
    while isinstance(part, list):
        shape.append(len(part))
        if not part:
            break
        part = part[0]
    _walk(tensor, value, shape, 0)
    return shape


def _walk(tensor: Tensor, value: Any, shape: list[int], level: int) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise _Refusal(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        # TensorFlow has no missing values; a tensor that allows them takes null for one.
        if value is not None or not tensor.allows_nan:
            _check_scalar(tensor.dtype, value)
        return
    if level >= len(shape):
        raise _Refusal(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _Refusal(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    # The innermost lists hold nearly all of the values.
    if level + 1 == len(shape) and _are_plain(tensor.dtype, value):
        return
    for at, part in enumerate(value):
        _walk(tensor.at_column(at) if level + 1 == len(shape) else tensor, part, shape, level + 1)


def _are_plain(dtype: str, values: list[Any]) -> bool:
    """Return whether all values are floats that a float input holds: a shortcut for long lists."""
    if dtype not in _LARGEST or not values or set(map(type, values)) != {float}:
        return False
    most = _LARGEST[dtype][1]
    return bool(-most <= min(values) <= max(values) <= most)


def _check_scalar(dtype: str, value: Any) -> None:
    if isinstance(value, dict) and dtype == "string":
        if not is_base64(value):
            raise _Refusal(f"JSON Value: {show(value)} not formatted correctly for base64 data")
        return
    if dtype in ("bool", "string"):
        fits = isinstance(value, bool if dtype == "bool" else str)
    elif isinstance(value, bool):  # In Python a bool is an int.
        fits = False
    elif dtype in _RANGES:
        low, high = _RANGES[dtype]
        fits = isinstance(value, int) and low <= value <= high
    else:
        fits = isinstance(value, int | float)
    if not fits:
        raise _Refusal(
            f"JSON Value: {show(value)} Type: {kind_of(value)} is not of expected type: {type_name(dtype)}"
        )
    if dtype in _LARGEST:
        _check_lossless(dtype, value)


def _check_lossless(dtype: str, value: float) -> None:
    integer, real = _LARGEST[dtype]
    is_lossy = abs(value) > integer if isinstance(value, int) else real < abs(value) < float("inf")
    if is_lossy:
        raise _Refusal(
            f"Cannot convert JSON value: {show(value)} to {type_name(dtype)} without loss of precision."
        )


def kind_of(value: object) -> str:
    """Return the name of a value's JSON type, as RapidJSON has it."""
    match value:
        case None:
            return "Null"
        case bool():
            return "True" if value else "False"
        case dict():
            return "Object"
        case list():
            return "Array"
        case str():
            return "String"
        case _:
            return "Number"


def _shape_text(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
