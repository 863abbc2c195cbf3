"""What TensorFlow Serving says when it refuses JSON, found by walking the value as it does.

Only words: nothing here makes a tensor. Values are shown shortened, because a whole body in a message
helps nobody.
"""

from __future__ import annotations

import json
from typing import Any

from lading.errors import BodyInvalid
from lading.signature import Signature, Tensor

TYPES = {"float32": "float", "float64": "double", "float16": "half"}
"""TensorFlow's names of dtypes that differ from numpy's."""

_SHOWN = 256
_RANGES = {
    "int8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_LARGEST = {"float32": (2**24 - 1, 3.4028234663852886e38), "float64": (2**53 - 1, 1.7976931348623157e308)}


_encoder = json.JSONEncoder(indent=4, ensure_ascii=False)


class _Complaint(Exception):
    pass


def show(value: Any) -> str:
    """Show a JSON value as TensorFlow Serving does, shortened."""
    text = ""
    for piece in _encoder.iterencode(value):  # No further than what is shown: a body may be large.
        text += piece
        if len(text) > _SHOWN:
            return f"{text[:_SHOWN]}…"
    return text


def type_name(dtype: str) -> str:
    """Return TensorFlow's name of a dtype."""
    return TYPES.get(dtype, dtype)


def largest_integer(dtype: str) -> int | None:
    """Return the largest JSON integer that TensorFlow Serving takes for a float dtype."""
    return _LARGEST[dtype][0] if dtype in _LARGEST else None


def is_base64(value: object) -> bool:
    """Return whether a JSON value is ``{"b64": "…"}``, which stands for a string."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def is_object(value: object) -> bool:
    """Return whether a JSON value is an object that stands for nothing else."""
    return isinstance(value, dict) and not is_base64(value)


def check_rows(signature: Signature, instances: list[Any]) -> None:
    """Raise unless rows are all objects with the inputs' names, or all values of the only input."""
    names = sorted(tensor.name for tensor in signature.inputs)
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


def complaint(signature: Signature, value: Any) -> str | None:
    """Say what TensorFlow Serving would refuse in rows or whole inputs; None where it would take them."""
    try:
        if isinstance(value, dict):
            for tensor in signature.inputs:
                _whole(tensor, value[tensor.name])
        else:
            _rows(signature, value)
    except _Complaint as found:
        return str(found)
    return None


def _rows(signature: Signature, rows: list[Any]) -> None:
    shapes: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        named = is_object(row)
        for tensor in signature.inputs:
            where = f"element: {at} key: {tensor.name}" if named else f"element: {at}"
            try:
                _item(tensor, row[tensor.name] if named else row, shapes)
            except _Complaint as found:
                raise _Complaint(f"Failed to process {where} of 'instances' list. Error: {found}") from None


def _item(tensor: Tensor, item: Any, shapes: dict[str, list[int]]) -> None:
    shape = _whole(tensor, item)
    first = shapes.setdefault(tensor.name, shape)
    if _size(first) != _size(shape):
        raise _Complaint(f"Expecting tensor size: {_size(first)} but got: {_size(shape)}")
    if first != shape:
        raise _Complaint(f"Expecting shape {_listed(first)} but got: {_listed(shape)}")


def _whole(tensor: Tensor, value: Any) -> list[int]:
    shape: list[int] = []
    part = value
    while isinstance(part, list):
        shape.append(len(part))
        if not part:
            break
        part = part[0]
    _fill(tensor, value, shape, 0)
    return shape


def _fill(tensor: Tensor, value: Any, shape: list[int], level: int) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise _Complaint(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        if value is not None or not tensor.allows_nan:
            _scalar(tensor.dtype, value)
        return
    if level >= len(shape):
        raise _Complaint(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _Complaint(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if level + 1 == len(shape) and _are_plain(tensor.dtype, value):
        return
    for part in value:
        _fill(tensor, part, shape, level + 1)


def _are_plain(dtype: str, values: list[Any]) -> bool:
    """Tell, quicker than one by one, whether all are floats that a float input takes."""
    if dtype not in _LARGEST or not values or set(map(type, values)) != {float}:
        return False
    most = _LARGEST[dtype][1]
    return bool(-most <= min(values) <= max(values) <= most)


def _scalar(dtype: str, value: Any) -> None:
    if isinstance(value, dict) and dtype == "string":
        if not is_base64(value):
            raise _Complaint(f"JSON Value: {show(value)} not formatted correctly for base64 data")
        return
    if dtype in ("bool", "string"):
        fits = isinstance(value, bool if dtype == "bool" else str)
    elif isinstance(value, bool):
        fits = False
    elif dtype in _RANGES:
        low, high = _RANGES[dtype]
        fits = isinstance(value, int) and low <= value <= high
    else:
        fits = isinstance(value, int | float)
    if not fits:
        raise _Complaint(
            f"JSON Value: {show(value)} Type: {kind_of(value)} is not of expected type: {type_name(dtype)}"
        )
    if dtype in _LARGEST:
        _lossless(dtype, value)


def _lossless(dtype: str, value: float) -> None:
    integer, real = _LARGEST[dtype]
    beyond = abs(value) > integer if isinstance(value, int) else real < abs(value) < float("inf")
    if beyond:
        raise _Complaint(
            f"Cannot convert JSON value: {show(value)} to {type_name(dtype)} without loss of precision."
        )


def kind_of(value: object) -> str:
    """Name the JSON type of a value."""
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


def _size(shape: list[int]) -> int:
    size = 1
    for one in shape:
        size *= one
    return size


def _listed(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
