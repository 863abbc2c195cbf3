"""Arrays checked against a tensor: accepted as they are, cast without change, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from lading.errors import EmptyInput, ShapeRefused, ValueRefused
from lading.signature.tensor import Array, Tensor, describe, fits, is_unencodable, too_large


def cast_array(tensor: Tensor, array: Array) -> Array:
    """Check shape and values of `array` and cast it to the tensor's dtype without changing a value.

    Floats may round to the nearest float of a narrower kind, as every literal does; they may not
    overflow. Integers, booleans and strings keep their value exactly. Raises `ValueRefused`,
    `ShapeRefused`, `EmptyInput`.
    """
    _check_shape(tensor, array.shape)
    cast = array if array.dtype == tensor.numpy_dtype else _convert(tensor, array)
    if tensor.dtype == "string":
        _check_strings(tensor, cast)
    elif cast.dtype.kind == "f":
        refused = tensor.refused_floats(cast)
        if refused is not None:
            at = _first_index(refused)
            where = " in a column that may not be missing" if tensor.nan_columns else ""
            value = f"NaN{where}" if np.isnan(cast[at]) else too_large(tensor, float(cast[at]))
            raise _value_refused(tensor, value, at)
    return cast


def _check_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    if fits(tensor.shape, shape):
        return
    if tensor.batched and shape and shape[0] == 0:
        raise EmptyInput(f"input `{tensor.name}`", expected="at least one row", found="none")
    raise ShapeRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"shape `{list(shape)}`")


def _convert(tensor: Tensor, array: Array) -> Array:
    target = tensor.numpy_dtype
    kinds = array.dtype.kind + target.kind
    if tensor.dtype == "string":
        return _decode_strings(tensor, array)
    if array.dtype.kind not in "biuf" or "b" in kinds:
        raise _value_refused(tensor, f"`{_dtype_name(array)}`", None)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
        if kinds == "ff":
            changed = np.isinf(cast) & ~np.isinf(array)
        else:
            back = cast.astype(array.dtype)
            # A cast that wraps can come back to the same bits, so the signs are compared as well.
            changed = (back != array) | ((cast < 0) != (array < 0))
            # The result of a cast between float and integer out of range depends on the processor (on ARM
            # 2**63 as float64 saturates to the nearest int64, and comes back), so ranges are compared too.
            if array.dtype.kind == "f":
                changed |= _out_of_range(array, target)
            elif target.kind == "f":
                changed |= _out_of_range(cast, array.dtype)
    if changed.any():
        at = _first_index(changed)
        beyond = f", which is beyond {tensor.dtype}," if kinds == "ff" else ""
        raise _value_refused(tensor, f"{array[at]!s}{beyond}", at)
    return cast


def _out_of_range(floats: Array, integer: np.dtype[Any]) -> Array:
    """Return a mask of the floats beyond the range of the `integer` dtype."""
    # The bounds are powers of two, so float64 holds them exactly.
    wide = floats.astype(np.float64)
    high = 2.0 ** (8 * integer.itemsize - (integer.kind == "i"))
    low = -high if integer.kind == "i" else 0.0
    return np.asarray(~((wide >= low) & (wide < high)))


def _decode_strings(tensor: Tensor, array: Array) -> Array:
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8").astype(object)
        except UnicodeDecodeError:
            raise _value_refused(tensor, "bytes that are not UTF-8", None) from None
    if array.dtype.kind != "U":
        raise _value_refused(tensor, f"`{_dtype_name(array)}`", None)
    return array.astype(object)


def _check_strings(tensor: Tensor, array: Array) -> None:
    for at, text in np.ndenumerate(array):
        if not isinstance(text, str):
            raise _value_refused(tensor, describe(text), at)
        if is_unencodable(text):
            raise _value_refused(tensor, "a string with a NUL or a lone surrogate", at)


def _dtype_name(array: Array) -> str:
    return "string" if array.dtype.kind in "US" else array.dtype.name


def _first_index(mask: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _value_refused(tensor: Tensor, value: str, at: tuple[int, ...] | None) -> ValueRefused:
    place = f" at {list(at)}" if at is not None else ""
    return ValueRefused(f"input `{tensor.name}`", expected=f"`{tensor}`", found=f"{value}{place}")
