"""Comparison of two sets of outputs: whether they agree, and where they agree least. Runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lading.signature import Array, Tensor

_VALUES_AT_ONCE = 2**15
"""How many values are compared at once: what that takes in memory does not grow with the outputs."""

_LONG_ROW = 1000


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far outputs may differ: ``|found - expected| <= atol + rtol * |expected|`` for every number.

    Outputs that are not floats are equal or flipped; at most ``max_label_flips`` rows may be flipped.
    """

    rtol: float = 1e-4
    atol: float = 1e-5
    max_label_flips: int = 0


class Deviation(msgspec.Struct, frozen=True):
    """How far one row of an output deviates; ``excess`` is 1.0 exactly at the tolerance."""

    output: str
    row: int
    expected: Any
    found: Any
    excess: float

    def __str__(self) -> str:
        return f"output `{self.output}`, row {self.row}: expected {self.expected}, found {self.found}"


class Parity(msgspec.Struct, frozen=True):
    """The result of one comparison: worst rows first, at most one per row and output."""

    holds: bool
    rows: int
    max_abs_error: float
    label_flips: int
    worst: tuple[Deviation, ...]


def compare(
    outputs: Sequence[Tensor],
    expected: Mapping[str, Array],
    actual: Mapping[str, Array],
    tolerance: Tolerance,
    *,
    show: int = 5,
) -> Parity:
    """Compare `actual` with `expected` output by output; each array has the batch dimension first.

    NaN agrees with NaN and an infinity with the same infinity. Another shape or kind of dtype (float,
    integer, text) never agrees, nor does a missing output; another width of float may.
    """
    worst: list[Deviation] = []
    rows, max_abs_error, label_flips, holds = 0, 0.0, 0, True
    for tensor in outputs:
        reference, array = expected[tensor.name], actual.get(tensor.name)
        rows = max(rows, len(reference) if reference.ndim else 1)
        if array is None or reference.shape != array.shape or reference.dtype.kind != array.dtype.kind:
            holds = False
            worst.append(Deviation(tensor.name, 0, _form(reference), _form(array), float("inf")))
            continue
        if reference.dtype.kind == "f":
            excess, error = _excess(reference, array, tolerance)  # [rows]
            max_abs_error = max(max_abs_error, error)
            holds = holds and bool((excess <= 1.0).all())
        else:
            flipped = _flipped_rows(reference, array)  # [rows]
            label_flips += int(flipped.sum())
            excess = flipped.astype(np.float64) * 2  # Anything above 1: a flip is outside of every tolerance.
        worst.extend(_worst(tensor, reference, array, excess, show))
    holds = holds and label_flips <= tolerance.max_label_flips
    worst.sort(key=lambda deviation: -deviation.excess)
    return Parity(holds, rows, max_abs_error, label_flips, tuple(worst[:show]))


def excess_by_row(
    outputs: Sequence[Tensor],
    expected: Mapping[str, Array],
    actual: Mapping[str, Array],
    tolerance: Tolerance,
) -> NDArray[np.float64]:
    """Return for each row how far it deviates, in the output where that is most; 1.0 is the tolerance.

    Outputs are compared as by `compare`, but only those of `expected`; a flipped value is infinitely far.
    """
    rows = max((len(array) for array in expected.values()), default=0)
    excess = np.zeros(rows)
    for tensor in outputs:
        reference, array = expected.get(tensor.name), actual.get(tensor.name)
        if reference is None:
            continue
        if array is None or reference.shape != array.shape or reference.dtype.kind != array.dtype.kind:
            excess[:] = np.inf
        elif reference.dtype.kind == "f":
            np.maximum(excess, _excess(reference, array, tolerance)[0], out=excess)
        else:
            excess[_flipped_rows(reference, array)] = np.inf
    return excess


def same_bits(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> bool:
    """Return whether every array of `expected` is in `actual` with the same dtype, shape and bits."""
    return all(name in actual and _same_bits(array, actual[name]) for name, array in expected.items())


def _same_bits(expected: Array, actual: Array) -> bool:
    # Bytes alone would be equal for an array of another shape.
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        return False
    # The bytes of texts are addresses of objects.
    same = np.array_equal if expected.dtype.kind == "O" else _same_bytes
    return bool(same(expected, actual))


def _same_bytes(expected: Array, actual: Array) -> bool:
    return expected.tobytes() == actual.tobytes()


def _excess(expected: Array, actual: Array, tolerance: Tolerance) -> tuple[NDArray[np.float64], float]:
    """Return for each row the largest error as a share of the allowed error, and the largest error of all."""
    wide, other = _as_rows(expected), _as_rows(actual)  # [rows, values]
    rows, values = wide.shape
    excess, largest = np.zeros(rows), 0.0
    step = max(1, _VALUES_AT_ONCE // max(1, values))
    for row in range(0, rows, step):
        for value in range(0, values, _VALUES_AT_ONCE):
            part = slice(row, row + step), slice(value, value + _VALUES_AT_ONCE)
            share, error = _share(wide[part], other[part], tolerance)
            np.maximum(excess[part[0]], share.max(axis=1), out=excess[part[0]])
            largest = max(largest, error)
    return excess, largest


def _share(expected: Array, actual: Array, tolerance: Tolerance) -> tuple[NDArray[np.float64], float]:
    """Return each error as a share of the allowed error, and the largest finite error."""
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    # NaN, infinity and an atol of 0 are expected here: what they yield is put right below.
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.abs(other - wide)
        allowed = tolerance.atol + tolerance.rtol * np.abs(wide)
        # A tolerance of 0 divides by zero; an error of 0 must still be allowed then.
        share = np.where(error == 0, 0.0, error / allowed)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    # NaN or an infinity on one side only is beyond every tolerance.
    share = np.where(same, 0.0, np.where(np.isnan(share) | ~np.isfinite(wide), np.inf, share))
    finite = error[np.isfinite(error) & ~same]
    return share, float(finite.max()) if finite.size else 0.0


def _flipped_rows(expected: Array, actual: Array) -> NDArray[np.bool_]:
    """Return which rows have a value that is another."""
    wide, other = _as_rows(expected), _as_rows(actual)  # [rows, values]
    rows, values = wide.shape
    step = max(1, _VALUES_AT_ONCE // max(1, values))
    parts = [
        np.any(wide[row : row + step] != other[row : row + step], axis=1) for row in range(0, rows, step)
    ]
    return np.concatenate([np.zeros(0, dtype=bool), *parts])


def _as_rows(array: Array) -> Array:
    """Return the array with all axes but the first as one; a scalar is one row."""
    rows, *sizes = array.shape or (1,)
    return array.reshape(rows, math.prod(sizes))  # -1 would be ambiguous without rows.


def _worst(tensor: Tensor, expected: Array, actual: Array, excess: Array, show: int) -> list[Deviation]:
    """Return the `show` rows of one output that deviate most."""
    order = np.argsort(-excess, kind="stable")[:show]
    return [
        Deviation(tensor.name, int(row), _plain(expected, row), _plain(actual, row), float(excess[row]))
        for row in order
        if excess[row] > 0
    ]


def _plain(array: Array, row: int) -> Any:
    value = array[row] if array.ndim else array
    # As numbers of Python, an image of 640 × 640 would take 40 MB; as an array its text is short, too.
    long = isinstance(value, np.ndarray) and value.size > _LONG_ROW
    return value.tolist() if isinstance(value, np.ndarray | np.generic) and not long else value


def _form(array: Array | None) -> str:
    return "no such output" if array is None else f"{array.dtype} {list(array.shape)}"
