"""Quick reading of many JSON numbers: simdjson straight into one float array.

Accepts what the typed pass of its caller accepts, or less; anything but numbers in rows of one length, or in
one list, is left to that pass. simdjson flattens nested lists, so their shape is proved separately.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import simdjson

from lading.signature import Array, DType, Tensor, all_within

LEAST_BYTES = 4096
"""Below this length of the text a typed pass is as fast."""
_KEPT_BYTES = 8 * 2**20
"""A parser keeps eight times the length of its largest text; after a longer one it is dropped, which costs
about half of the time of reading it again."""
_QUOTE, _BRACKET = b'"', ord("[")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


Locate = Callable[[Any], "tuple[Any, tuple[int, ...], int]"]
"""From a parsed document to its values, their shape, and the number of other lists in the document.

The first size may be -1, for any number of rows. Raises `ValueError` for a document of another form.
"""


class NumberReader:
    """Reads numbers into arrays of one float dtype; keeps its parsers, each for one thread at a time.

    Numbers of a magnitude above `most` are left to the typed pass.
    """

    def __init__(self, dtype: np.dtype[Any], *, most: float = math.inf) -> None:
        self._dtype = dtype
        self._most = most
        self._parsers: list[Any] = []

    def matrix(self, text: bytes, key: str, columns: int) -> Array | None:
        """Read a body ``{"<key>": [[…], …]}`` with no other key, every row of `columns` numbers."""
        # Exactly two quotes are exactly one key, and no value is a string.
        opening = text.find(_QUOTE)
        closing = text.find(_QUOTE, opening + 1)
        if closing < 0 or text.find(_QUOTE, closing + 1) >= 0:
            return None
        return self.read(text, lambda document: (document[key], (-1, columns), 0))

    def tensor(self, text: memoryview, shape: Sequence[int]) -> Array | None:
        """Read the values of a tensor of `shape`: a flat list, or a list of rows if it has two dimensions."""
        return self.read(bytes(text), lambda document: (document, tuple(shape), 0))

    def read(self, text: bytes, locate: Locate) -> Array | None:
        """Read the values that `locate` finds; None if they are anything but numbers of that shape."""
        if text.startswith(_BYTE_ORDER_MARK):
            return None  # simdjson skips it; the other parsers refuse it.
        try:
            parser = self._parsers.pop()
        except IndexError:  # Every parser is in use by another thread.
            parser = simdjson.Parser()
        try:
            values, shape, beside = locate(parser.parse(text))
            lists = int(np.count_nonzero(np.frombuffer(text, np.uint8) == _BRACKET))
            array = self._array(values, lists - beside, shape)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, FloatingPointError):
            return None
        finally:
            # pysimdjson refuses to reuse a parser while anything refers to its document.
            values = None
            if len(text) <= _KEPT_BYTES:
                self._parsers.append(parser)
        return array

    def _array(self, values: Any, lists: int, shape: tuple[int, ...]) -> Array | None:
        if lists > 1 or (shape and shape[0] < 0):
            # Every row has the right length and there are no further lists, so each row holds scalars only.
            count = len(values)
            if len(shape) != 2 or not count or lists != count + 1 or set(map(len, values)) != {shape[1]}:
                return None
            shape = (count, shape[1]) if shape[0] < 0 else shape
        wide = np.frombuffer(values.as_buffer(of_type="d"))
        with np.errstate(over="raise"):  # simdjson itself has refused numbers beyond float64.
            array = wide.astype(self._dtype).reshape(shape)  # Raises ValueError if the count is another.
        return array if all_within(array, self._most) else None


@cache
def number_reader(dtype: DType, bound: float) -> NumberReader:
    """Return the reader of a dtype, for tensors with this `bound`.

    Models share it, since its parsers keep memory for their largest text.
    """
    return NumberReader(np.dtype(dtype), most=bound)


def matrix_reader(tensor: Tensor) -> NumberReader | None:
    """Return the reader of rows for `tensor`, or None if it is no plain matrix of floats."""
    plain = tensor.batched and len(tensor.shape) == 2 and isinstance(tensor.shape[1], int)
    return (
        number_reader(tensor.dtype, tensor.bound)
        if plain and tensor.dtype in ("float32", "float64")
        else None
    )
