"""Repeated fields of protobuf messages to arrays and back, in pieces between which other threads run.

Each is read or written by C code that keeps the interpreter to itself: 0.5 s for ten million numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lading.signature import Array

_PIECE = 65_536
"""Values at once: 2 to 5 ms."""


def to_array(values: Sequence[Any], dtype: Any) -> Array:
    """Return the numbers of a repeated field as an array ``[len(values)]`` of `dtype`."""
    if len(values) <= _PIECE:
        return np.fromiter(values, dtype, len(values))
    array = np.empty(len(values), dtype)
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE]
        array[start : start + len(piece)] = np.fromiter(piece, dtype, len(piece))
    return array


def extend(field: Any, array: Array) -> None:
    """Append the values of an array of one dimension to a repeated field, texts as UTF-8."""
    for start in range(0, len(array), _PIECE):
        values = array[start : start + _PIECE].tolist()
        field.extend([text.encode() for text in values] if array.dtype.kind == "O" else values)
