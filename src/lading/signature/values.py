"""JSON values checked against a tensor: cast in one go, and searched for the first offender if that fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from lading.errors import EmptyInput, ShapeRefused, ValueRefused
from lading.signature.tensor import Array, DType, Tensor, describe, fits, unfit_text

_BLOCK_ROWS = 1000


def cast_json(
    tensor: Tensor, value: object, path: str = "$", *, columns: tuple[str, ...] | None = None
) -> Array:
    """Turn a JSON value into the tensor's array, dtype and shape checked.

    ``columns`` are the keys to name in the path of the last axis when the rows came as objects.
    Raises `ValueRefused`, `ShapeRefused`, `EmptyInput`, each with the path of the first offender.
    """
    try:
        wide = np.array(_typed(tensor, value), dtype=_wide(tensor))
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise _explain(tensor, value, path, columns) from None
    if not fits(tensor.shape, wide.shape):
        raise _explain(tensor, value, path, columns)
    cast = _narrow(tensor, wide)
    if cast is None:
        raise _explain(tensor, value, path, columns)
    return cast


def _typed(tensor: Tensor, value: object) -> object:
    kind = _json_type(tensor.dtype, len(tensor.shape), tensor.allows_nan)
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        if "int" not in tensor.dtype:
            raise
        return msgspec.convert(_whole(value, len(tensor.shape)), kind, strict=True)


def _whole(value: object, depth: int) -> object:
    """Write ``2.0`` as 2, which is the same number; data frames send integers so."""
    if isinstance(value, list):
        return [_whole(one, depth - 1) for one in value] if depth else value
    return int(value) if isinstance(value, float) and _is_whole(value) else value


def _is_whole(value: float) -> bool:
    # Past 2**53 the float may stand for another integer than the caller wrote.
    return value.is_integer() and abs(value) <= 2**53


@lru_cache(maxsize=256)
def _json_type(dtype: DType, ndim: int, allows_nan: bool) -> Any:
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


def _wide(tensor: Tensor) -> np.dtype[Any]:
    """Return the dtype that holds any JSON number of the tensor's kind until its range is checked."""
    return np.dtype(np.float64) if tensor.dtype.startswith("float") else tensor.numpy_dtype


def _narrow(tensor: Tensor, wide: Array) -> Array | None:
    """Cast float64 to the tensor's dtype; None where a value overflows, is NaN, or text is impossible."""
    if tensor.dtype == "string":
        return None if any(unfit_text(text) for text in wide.flat) else wide
    if wide.dtype.kind != "f":
        return wide
    with np.errstate(over="ignore", invalid="ignore"):
        cast = wide.astype(tensor.numpy_dtype, copy=False)
    if np.isfinite(cast).all():
        return cast
    if not tensor.allows_nan and np.isnan(wide).any():
        return None
    return cast if (np.isinf(cast) == np.isinf(wide)).all() else None


def _explain(
    tensor: Tensor, value: object, path: str, columns: tuple[str, ...] | None
) -> ValueRefused | ShapeRefused | EmptyInput:
    """Find the first value that keeps `value` from being the tensor, and say where it is."""
    where, expected = f"input `{tensor.name}`", f"`{tensor}`"
    if tensor.batched and value == []:
        return EmptyInput(where, expected=f"{expected} with at least one row", found=f"none at `{path}`")
    start, part, shape = _first_unfit(tensor, value)
    for kind, found, at in _offences(tensor, part, shape):
        place = _place(path, (at[0] + start, *at[1:]) if at else at, columns, tensor)
        return kind(where, expected=expected, found=f"{found} at `{place}`")
    # Only the sizes of dynamic dimensions are left: they differ, or an empty list hides the next one.
    found = f"lists of different lengths, or empty ones, at `{path}`"
    return ShapeRefused(where, expected=expected, found=found)


def _first_unfit(tensor: Tensor, value: object) -> tuple[int, object, tuple[int | str, ...]]:
    """Return the first block of rows that is no array of the tensor, where it begins, and its shape.

    What follows looks at every value by itself, a thousand times slower: nobody may hold the server up with
    a large body whose last value is wrong.
    """
    if not isinstance(value, list) or len(value) <= _BLOCK_ROWS:
        return 0, value, tensor.shape
    if not tensor.batched and tensor.shape[:1] != (len(value),):
        return 0, value, tensor.shape
    row = tensor.shape[1:]
    for start in range(0, len(value), _BLOCK_ROWS):
        block = value[start : start + _BLOCK_ROWS]
        if not _is_array(tensor, block, row):
            return start, block, (len(block), *row)
    return 0, [], (0, *row)


def _is_array(tensor: Tensor, block: list[Any], row: tuple[int | str, ...]) -> bool:
    try:
        wide = np.array(_typed(tensor, block), dtype=_wide(tensor))
    except (msgspec.ValidationError, ValueError, OverflowError):
        return False
    return fits(row, wide.shape[1:]) and _narrow(tensor, wide) is not None


_Offence = tuple[type[ValueRefused | ShapeRefused], str, tuple[int, ...]]


def _offences(tensor: Tensor, value: object, shape: tuple[int | str, ...]) -> Iterator[_Offence]:
    """Find what keeps `value` from being of `shape`: the error, what was found, and its indices."""
    if not shape:
        found = _bad_scalar(tensor, value)
        if found is not None:
            yield ValueRefused, found, ()
        return
    if not isinstance(value, list):
        yield ValueRefused, describe(value), ()
        return
    want = shape[0]
    if isinstance(want, int) and len(value) != want:
        yield ShapeRefused, f"{len(value)} value{'' if len(value) == 1 else 's'}", ()
        return
    for at, item in enumerate(value):
        for kind, found, inner in _offences(tensor, item, shape[1:]):
            yield kind, found, (at, *inner)


def _place(path: str, at: tuple[int, ...], columns: tuple[str, ...] | None, tensor: Tensor) -> str:
    """Write indices as a path; the last one as a column where rows came as objects."""
    parts = [f"[{index}]" for index in at]
    if columns and len(at) == len(tensor.shape) and at[-1] < len(columns):
        parts[-1] = f".{columns[at[-1]]}"
    return path + "".join(parts)


def _bad_scalar(tensor: Tensor, value: object) -> str | None:
    """Describe `value` if it is not a JSON scalar of the tensor's dtype, else None."""
    dtype = tensor.dtype
    if value is None:
        return None if tensor.allows_nan and dtype.startswith("float") else "null"
    if dtype in ("bool", "string"):
        if not isinstance(value, bool if dtype == "bool" else str):
            return describe(value)
        unfit = isinstance(value, str) and unfit_text(value)
        return "a string with a NUL or a lone surrogate" if unfit else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return describe(value)
    return _bad_number(tensor, value)


def _bad_number(tensor: Tensor, value: float) -> str | None:
    beyond = f"{describe(value)}, which is beyond {tensor.dtype},"
    if tensor.dtype.startswith("float"):
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) and not tensor.allows_nan else None
        try:
            with np.errstate(over="ignore"):
                over = np.isinf(np.float64(value).astype(tensor.numpy_dtype))
        except OverflowError:  # an integer beyond every float
            return beyond
        return beyond if over else None
    info = np.iinfo(tensor.numpy_dtype)
    if isinstance(value, float) and not value.is_integer():
        return describe(value)
    if not info.min <= value <= info.max:
        return beyond
    if isinstance(value, float) and not _is_whole(value):
        return f"{describe(value)}, a float too large to be one integer,"
    return None
