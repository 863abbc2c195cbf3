"""One named input or output: its dtype, its shape and how messages write it. Casts nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from lading.errors import InputMissing

DType = Literal[
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "string",
]  # fmt: skip
DTYPES: tuple[DType, ...] = get_args(DType)
Array = NDArray[Any]

_NUMPY = {name: np.dtype(object if name == "string" else name) for name in DTYPES}

BATCH = "batch"
"""The name of the dimension along which rows are independent; if a tensor has it, it is the first."""

UNNAMED = "?"
"""The name of a dynamic dimension that the model does not name: its size has nothing to do with others."""

USUAL_BOUND = 1e30
"""The largest magnitude that a model is given if no golden sample holds more: what it multiplies and sums
stays within float32, which ends at 3.4e38."""

_FEW = 1000
_MOST_LISTED = 12
_LONGEST_NAME = 80


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One named input or output.

    ``shape`` holds sizes and names; a name is a dynamic dimension, and equal names are equal sizes within
    one request, but for `UNNAMED`. ``columns`` names the entries of the last axis. ``allows_nan`` is true if
    the golden samples held missing values: only then are JSON ``null`` and NaN accepted, as missing values.
    ``nan_columns`` are the indices along the last of two axes at which they are accepted; empty means at all.
    ``bound`` is the largest magnitude of a float that is accepted; if it is infinite, all that the dtype
    holds is, infinities too. No manifest has it (see `lading.bundle.requests`).
    """

    name: str
    dtype: DType
    shape: tuple[int | str, ...]
    columns: tuple[str, ...] = ()
    allows_nan: bool = False
    nan_columns: tuple[int, ...] = ()
    bound: float = math.inf

    @property
    def batched(self) -> bool:
        """Return whether the first dimension is the batch."""
        return bool(self.shape) and self.shape[0] == BATCH

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Return the dtype that arrays of this tensor have; ``object`` (of ``str``) for strings."""
        return _NUMPY[self.dtype]

    @property
    def shared_sizes(self) -> bool:
        """Return whether two of its dimensions have one name, so that their sizes must agree."""
        names = [size for size in self.shape if isinstance(size, str) and size != UNNAMED]
        return len(names) > len(set(names))

    @property
    def scalar_rows(self) -> bool:
        """Return whether a row of it is one value: shape ``[batch]`` or ``[batch, 1]``."""
        return self.batched and self.shape[1:] in ((), (1,))

    @property
    def largest(self) -> float:
        """Return the largest magnitude of a float that is accepted."""
        return _largest(self.dtype, self.bound)

    def refused_floats(self, values: Array) -> Array | None:
        """Mark the values that are NaN, infinite or too large where that is refused; None if there are none.

        `values` are those of whole rows, nested or flat, in row-major order.
        """
        if self.bound < math.inf:
            if all_within(values, self.largest):
                return None
            wrong = ~(np.abs(values) <= self.largest)
        elif self.allows_nan and not self.nan_columns:
            return None
        else:
            wrong = np.isnan(values)
            # Every request comes here: on small arrays `.any()` takes three times as long.
            if not np.count_nonzero(wrong):
                return None
        if self.allows_nan:
            missing = np.isnan(values)
            if self.nan_columns:
                column = np.arange(missing.size).reshape(missing.shape) % int(self.shape[-1])
                missing &= np.isin(column, self.nan_columns)
            wrong &= ~missing
        return wrong if wrong.any() else None

    def at_column(self, at: int) -> Tensor:
        """Return the tensor as it is for the value `at` of a row: with NaN allowed there or not."""
        if not self.nan_columns:
            return self
        allowed = at % int(self.shape[-1]) in self.nan_columns
        return msgspec.structs.replace(self, allows_nan=allowed, nan_columns=())

    def __repr__(self) -> str:
        return f"Tensor({self.name}: {self})"

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(str(size) for size in self.shape)}]"


def fits(shape: tuple[int | str, ...], sizes: tuple[int, ...]) -> bool:
    """Return whether an array of `sizes` has `shape`; a batch without rows does not."""
    if len(shape) != len(sizes):
        return False
    # A loop is faster than `all` with a generator, and every request comes through here.
    for dimension, size in zip(shape, sizes, strict=True):
        if dimension != size and not isinstance(dimension, str):
            return False
    return not (shape and shape[0] == BATCH and sizes[0] == 0)


@cache
def _largest(dtype: str, bound: float) -> float:
    kind = np.dtype(dtype)
    # As the dtype holds it, which is as values that are compared with it were rounded.
    return float(kind.type(min(bound, float(np.finfo(kind).max))))


def bound_of(values: Array) -> float:
    """Return the `Tensor.bound` of an input whose golden samples are `values`.

    It is one of three: `USUAL_BOUND`; what float32 holds; infinite, for samples beyond that.
    """
    present = values[~np.isnan(values)]
    for bound in (USUAL_BOUND, float(np.finfo(np.float32).max)):
        if all_within(present, _largest(values.dtype.name, bound)):
            return bound
    return math.inf


def all_within(values: Array, most: float) -> bool:
    """Return whether no float is NaN or of a magnitude above `most`."""
    if values.size < _FEW:
        return bool(np.count_nonzero(np.abs(values) <= most) == values.size)
    # Two passes without an array of results are faster for many.
    return bool(values.max() <= most and values.min() >= -most)


def too_large(tensor: Tensor, value: float) -> str:
    """Describe a value beyond `Tensor.largest`, for a message."""
    if math.isinf(value):
        return "an infinity"
    limit = "1e30, as no golden sample is," if tensor.bound == USUAL_BOUND else "float32,"
    return f"{value:g}, which is beyond {limit}"


def describe(value: object) -> str:
    """Return a JSON value as a message names it: "a string", "1.5", "null", "a list"."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            # Python refuses to write integers of thousands of digits, and nobody reads them.
            return f"{value}" if abs(value) < 10**40 else f"a number of {value.bit_length()} bits"
        case float():
            return f"{value!r}"
        case str():
            return "a string"
        case list():
            return "an empty list" if not value else "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def input_missing(tensor: Tensor, where: str, names: Sequence[str]) -> InputMissing:
    """Return the error of an input that is not among the `names` in `where`."""
    return InputMissing(f"input `{tensor.name}` in {where}", expected=f"`{tensor}`", found=list_names(names))


def quoted(name: str) -> str:
    """Return a name that a caller sent as a message writes it: short and printable."""
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return f"`{short}`" if short.isprintable() else f"`{ascii(short)[1:-1]}`"


def names_of(tensors: Sequence[Tensor]) -> str:
    """Return the names of `tensors` as a message lists them."""
    return ", ".join(f"`{tensor.name}`" for tensor in tensors)


def list_names(names: Sequence[str]) -> str:
    """Return names that a caller sent as a message lists them: a dozen at most."""
    more = ", …" if len(names) > _MOST_LISTED else ""
    return ", ".join(quoted(name) for name in names[:_MOST_LISTED]) + more if names else "none"


def is_unencodable(text: str) -> bool:
    """Return whether a model cannot be given this text."""
    # ONNX strings are UTF-8 without NUL: ONNX Runtime cuts at NUL and cannot encode lone surrogates.
    return (not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)) or "\0" in text
