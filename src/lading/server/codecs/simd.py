"""Quick reading of many JSON numbers: simdjson straight into one float array.

Takes exactly what the typed pass of its caller takes, or less; whatever is not plainly numbers in rows of
one length, or in one list, is left to that. simdjson flattens, so the shape is proved beside it. Worth it
from a few kilobytes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import simdjson

from lading.signature import Array, DType, Tensor

LEAST_BYTES = 4096
_QUOTE, _BRACKET = b'"', ord("[")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


Locate = Callable[[Any], "tuple[Any, tuple[int, ...], int]"]
"""From a parsed document to the values in it, their shape, and how many lists stand beside them.

The first size may be -1, for as many rows as there are. Raises `ValueError` where it does not know its way.
"""


class NumberReader:
    """Reads numbers into arrays of one dtype of floats; keeps its parsers, each for one thread at a time."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._parsers: list[Any] = []

    def matrix(self, text: bytes, key: str, columns: int) -> Array | None:
        """Read a body ``{"<key>": [[…], …]}`` with nothing beside, every row of `columns` numbers."""
        opening = text.find(_QUOTE)
        closing = text.find(_QUOTE, opening + 1)
        if closing < 0 or text.find(_QUOTE, closing + 1) >= 0:
            return None  # Two quotes are one key: nothing stands beside it, and no value is a string.
        return self.read(text, lambda document: (document[key], (-1, columns), 0))

    def tensor(self, text: memoryview, shape: Sequence[int]) -> Array | None:
        """Read the values of a tensor of `shape`: a list of rows where it has two dimensions, or one list."""
        return self.read(bytes(text), lambda document: (document, tuple(shape), 0))

    def read(self, text: bytes, locate: Locate) -> Array | None:
        """Read the values that `locate` finds; None where they are not plainly numbers of that shape."""
        if text.startswith(_BYTE_ORDER_MARK):
            return None  # simdjson passes over it, others do not.
        parser = self._parsers.pop() if self._parsers else simdjson.Parser()
        try:
            values, shape, beside = locate(parser.parse(text))
            lists = int(np.count_nonzero(np.frombuffer(text, np.uint8) == _BRACKET))
            array = self._array(values, lists - beside, shape)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, FloatingPointError):
            return None
        finally:
            # A parser is used again only when nothing refers to its document any more.
            values = None
            self._parsers.append(parser)
        return array

    def _array(self, values: Any, lists: int, shape: tuple[int, ...]) -> Array | None:
        if lists > 1 or (shape and shape[0] < 0):
            # Each row has its length, and there is no list but them: so each holds numbers only.
            count = len(values)
            if len(shape) != 2 or not count or lists != count + 1 or set(map(len, values)) != {shape[1]}:
                return None
            shape = (count, shape[1]) if shape[0] < 0 else shape
        wide = np.frombuffer(values.as_buffer(of_type="d"))
        with np.errstate(over="raise"):  # simdjson has refused what is beyond float64.
            return wide.astype(self._dtype).reshape(shape)  # A `ValueError` where they are not as many.


@cache
def number_reader(dtype: DType) -> NumberReader:
    """Return the reader of a dtype: one for all models, for its parsers keep what memory they once needed."""
    return NumberReader(np.dtype(dtype))


def matrix_reader(tensor: Tensor) -> NumberReader | None:
    """Return the reader of rows for `tensor`; None where it is no plain matrix of floats."""
    plain = tensor.batched and len(tensor.shape) == 2 and isinstance(tensor.shape[1], int)
    return number_reader(tensor.dtype) if plain and tensor.dtype in ("float32", "float64") else None
