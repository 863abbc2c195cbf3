"""JSON values checked against a tensor: cast in one pass, or searched for the first offender."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np

from lading.errors import EmptyInput, ShapeRefused, ValueRefused
from lading.signature.tensor import BATCH, Array, DType, Tensor, describe, fits, is_unencodable, too_large

_BLOCK_ROWS = 1000
# Beyond it, not every integer is a float64.
_LARGEST_EXACT = 2**53

Shape = tuple[int | str, ...]


class _Paths(NamedTuple):
    """Writes the indices of a value as a path in the caller's JSON."""

    root: str
    columns: tuple[str, ...] | None
    row_suffix: str
    ndim: int

    def of(self, indices: tuple[int, ...]) -> str:
        parts = [f"[{index}]" for index in indices]
        if self.columns and len(indices) == self.ndim and indices[-1] < len(self.columns):
            parts[-1] = f".{self.columns[indices[-1]]}"
        if parts:
            parts[0] += self.row_suffix
        return self.root + "".join(parts)


def cast_json(
    tensor: Tensor,
    value: object,
    path: str = "$",
    *,
    shape: Shape | None = None,
    columns: tuple[str, ...] | None = None,
    row_suffix: str = "",
) -> Array:
    """Turn a JSON value into the tensor's array; its dtype and shape are checked.

    ``shape`` stands in for the tensor's own where the value must have another one. ``columns`` names the
    entries of the last axis in paths, for rows that came as objects; ``row_suffix`` follows the index of a
    row, for a value that is one column of the caller's rows.
    Raises `ValueRefused`, `ShapeRefused`, `EmptyInput`, each with the path of the first offender.
    """
    sizes = tensor.shape if shape is None else shape
    wide: Array | None
    try:
        wide = np.array(_typed(tensor, value, len(sizes)), dtype=_wide_dtype(tensor))
    except (msgspec.ValidationError, ValueError, OverflowError):
        wide = None
    if wide is not None and fits(sizes, wide.shape):
        cast = _narrow(tensor, wide)
        if cast is not None:
            return cast
    # Only now is it worth to look at every value: a well-formed one never comes here.
    raise _explain(tensor, value, sizes, _Paths(path, columns, row_suffix, len(sizes)))


def _typed(tensor: Tensor, value: object, ndim: int) -> object:
    kind = _json_type(tensor.dtype, ndim, tensor.allows_nan)
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        if "int" not in tensor.dtype:
            raise
        return msgspec.convert(_with_integers(value, ndim), kind, strict=True)


def _with_integers(value: object, depth: int) -> object:
    """Replace ``2.0`` by 2, which is the same number; data frames write integers as floats."""
    if isinstance(value, list):
        return [_with_integers(item, depth - 1) for item in value] if depth else value
    return int(value) if isinstance(value, float) and _is_whole(value) else value


def _is_whole(value: float) -> bool:
    # Past 2**53 the float may stand for another integer than the caller wrote.
    return value.is_integer() and abs(value) <= _LARGEST_EXACT


@lru_cache(maxsize=256)
def _json_type(dtype: DType, ndim: int, allows_nan: bool) -> Any:
    """Return the type of nested lists, `ndim` deep, of values of a dtype."""
    if dtype == "bool":
        kind: Any = bool
    elif dtype == "string":
        kind = str
    else:
        kind = float if dtype.startswith("float") else int
    if allows_nan and kind is float:
        kind = kind | None
    for _ in range(ndim):
        kind = list[kind]
    return kind


def _wide_dtype(tensor: Tensor) -> np.dtype[Any]:
    """Return the dtype that holds any JSON number of the tensor's kind until its range is checked."""
    return np.dtype(np.float64) if tensor.dtype.startswith("float") else tensor.numpy_dtype


def _narrow(tensor: Tensor, wide: Array) -> Array | None:
    """Cast to the tensor's dtype; None if a value overflows or is NaN, or no model can read a text."""
    if tensor.dtype == "string":
        return None if any(is_unencodable(text) for text in wide.flat) else wide
    if wide.dtype.kind != "f":
        return wide
    with np.errstate(over="ignore", invalid="ignore"):
        cast = wide.astype(tensor.numpy_dtype, copy=False)
    if (np.abs(cast) <= tensor.largest).all():
        return cast
    if tensor.refused_floats(wide) is not None:
        return None
    # An infinity that was written as one stays; one that the cast made is an overflow.
    return cast if (np.isinf(cast) == np.isinf(wide)).all() else None


def _explain(
    tensor: Tensor, value: object, shape: Shape, paths: _Paths
) -> ValueRefused | ShapeRefused | EmptyInput:
    """Find the first value that keeps `value` from being the tensor, and return its error."""
    where, expected = f"input `{tensor.name}`", f"`{tensor}`"
    if shape[:1] == (BATCH,) and value == []:
        return EmptyInput(where, expected=f"{expected} with at least one row", found="none", path=paths.root)
    start, block, block_shape = _first_unfit_block(tensor, value, shape)
    for kind, text, indices in _offences(tensor, block, block_shape):
        if tensor.nan_columns and text in ("null", "NaN"):
            text += " in a column that may not be missing"  # noqa: PLW2901
        place = (indices[0] + start, *indices[1:]) if indices else ()
        return kind(where, expected=expected, found=text, path=paths.of(place))
    # Only the sizes of dynamic dimensions are left: they differ, or an empty list hides the next one.
    text = "lists of different lengths, or empty ones,"
    return ShapeRefused(where, expected=expected, found=text, path=paths.root)


def _first_unfit_block(tensor: Tensor, value: object, shape: Shape) -> tuple[int, object, Shape]:
    """Return the index of the first row of a block that does not fit, the block, and its shape.

    The search within a block looks at every value by itself, a thousand times slower than a cast: nobody may
    keep the server busy with a large body whose last value is wrong.
    """
    if not isinstance(value, list) or len(value) <= _BLOCK_ROWS:
        return 0, value, shape
    if shape[:1] not in ((BATCH,), (len(value),)):
        return 0, value, shape
    row_shape = shape[1:]
    # Flat values are cut between rows, so that a value's place still says its column.
    width = int(tensor.shape[-1]) if tensor.nan_columns and not row_shape else 1
    size = max(1, _BLOCK_ROWS // width) * width
    for start in range(0, len(value), size):
        block = value[start : start + size]
        if not _is_array(tensor, block, row_shape):
            return start, block, (len(block), *row_shape)
    return 0, [], (0, *row_shape)


def _is_array(tensor: Tensor, block: list[Any], row_shape: Shape) -> bool:
    try:
        wide = np.array(_typed(tensor, block, 1 + len(row_shape)), dtype=_wide_dtype(tensor))
    except (msgspec.ValidationError, ValueError, OverflowError):
        return False
    return fits(row_shape, wide.shape[1:]) and _narrow(tensor, wide) is not None


_Offence = tuple[type[ValueRefused | ShapeRefused], str, tuple[int, ...]]


def _offences(tensor: Tensor, value: object, shape: Shape) -> Iterator[_Offence]:
    """Find what keeps `value` from having `shape`: class of the error, description, indices."""
    if not shape:
        text = _bad_scalar(tensor, value)
        if text is not None:
            yield ValueRefused, text, ()
        return
    if not isinstance(value, list):
        yield ValueRefused, describe(value), ()
        return
    size = shape[0]
    if isinstance(size, int) and len(value) != size:
        yield ShapeRefused, f"{len(value)} value{'' if len(value) == 1 else 's'}", ()
        return
    innermost = len(shape) == 1
    for at, item in enumerate(value):
        for kind, text, indices in _offences(tensor.at_column(at) if innermost else tensor, item, shape[1:]):
            yield kind, text, (at, *indices)


def _bad_scalar(tensor: Tensor, value: object) -> str | None:
    """Describe `value` if it is not a JSON scalar of the tensor's dtype; None if it is."""
    dtype = tensor.dtype
    if value is None:
        return None if tensor.allows_nan and dtype.startswith("float") else "null"
    if dtype in ("bool", "string"):
        if not isinstance(value, bool if dtype == "bool" else str):
            return describe(value)
        unencodable = isinstance(value, str) and is_unencodable(value)
        return "a string with a NUL or a lone surrogate" if unencodable else None
    # In Python a bool is an int; in JSON it is no number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return describe(value)
    return _bad_number(tensor, value)


def _bad_float(tensor: Tensor, value: float) -> str | None:
    """Describe `value` if the float tensor refuses it."""
    if isinstance(value, float) and math.isinf(value):
        return too_large(tensor, value) if tensor.bound < math.inf else None
    if isinstance(value, float) and math.isnan(value):
        return None if tensor.allows_nan else "NaN"
    try:
        with np.errstate(over="ignore"):
            overflows = np.isinf(np.float64(value).astype(tensor.numpy_dtype))
    except OverflowError:  # An integer beyond every float.
        overflows = True
    if not overflows and abs(value) > tensor.largest:
        return too_large(tensor, value)
    return f"{describe(value)}, which is beyond {tensor.dtype}," if overflows else None


def _bad_number(tensor: Tensor, value: float) -> str | None:
    """Describe `value` if it is beyond the tensor's dtype or has a fraction where none may be."""
    if tensor.dtype.startswith("float"):
        return _bad_float(tensor, value)
    beyond = f"{describe(value)}, which is beyond {tensor.dtype},"
    limits = np.iinfo(tensor.numpy_dtype)
    if isinstance(value, float) and not value.is_integer():
        return describe(value)
    if not limits.min <= value <= limits.max:
        return beyond
    if isinstance(value, float) and not _is_whole(value):
        return f"{describe(value)}, a float too large to be one integer,"
    return None
