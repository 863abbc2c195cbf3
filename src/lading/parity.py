"""Whether two sets of outputs agree, and where they agree least. Runs nothing and judges nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lading.signature import Array, Tensor


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far outputs may differ: ``|found - expected| <= atol + rtol * |expected|`` for every number.

    Outputs that are not floats are equal or flipped; at most ``max_label_flips`` rows may be flipped.
    """

    rtol: float = 1e-4
    atol: float = 1e-5
    max_label_flips: int = 0


class Deviation(msgspec.Struct, frozen=True):
    """The row of one output that agrees least; ``excess`` is 1.0 exactly at the tolerance."""

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
    found: Mapping[str, Array],
    tolerance: Tolerance,
    *,
    show: int = 5,
) -> Parity:
    """Compare `found` with `expected` output by output; each array has the batch dimension first.

    NaN agrees with NaN and an infinity with the same infinity. Another shape or kind of dtype (float,
    integer, text) never agrees, nor does an output that was not found; another width of float may.
    """
    worst: list[Deviation] = []
    rows, max_abs_error, label_flips, holds = 0, 0.0, 0, True
    for tensor in outputs:
        want, have = expected[tensor.name], found.get(tensor.name)
        rows = max(rows, len(want) if want.ndim else 1)
        if have is None or want.shape != have.shape or want.dtype.kind != have.dtype.kind:
            holds = False
            worst.append(Deviation(tensor.name, 0, _form(want), _form(have), float("inf")))
            continue
        if want.dtype.kind == "f":
            excess, error = _excess(want, have, tolerance)
            max_abs_error = max(max_abs_error, error)
            holds = holds and bool((excess <= 1.0).all())
        else:
            flipped = _by_row(np.asarray(want != have))
            label_flips += int(flipped.sum())
            excess = flipped.astype(np.float64) * 2
        worst.extend(_worst(tensor, want, have, excess, show))
    holds = holds and label_flips <= tolerance.max_label_flips
    worst.sort(key=lambda deviation: -deviation.excess)
    return Parity(holds, rows, max_abs_error, label_flips, tuple(worst[:show]))


def _excess(want: Array, have: Array, tolerance: Tolerance) -> tuple[NDArray[np.float64], float]:
    """Return for each row the largest error as a share of what is allowed, and the largest error of all."""
    wide, other = want.astype(np.float64), have.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.abs(other - wide)
        allowed = tolerance.atol + tolerance.rtol * np.abs(wide)
        share = np.where(error == 0, 0.0, error / allowed)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    share = np.where(same, 0.0, np.where(np.isnan(share) | ~np.isfinite(wide), np.inf, share))
    finite = error[np.isfinite(error) & ~same]
    return _by_row(share, np.max), float(finite.max()) if finite.size else 0.0


def _by_row(values: Array, reduce: Any = np.any) -> Array:
    """Reduce every axis but the first; a scalar is one row."""
    rows, *sizes = values.shape or (1,)
    flat = values.reshape(rows, math.prod(sizes))  # -1 would not do where there are no rows
    if flat.shape[1] == 0:
        return np.zeros(flat.shape[0], dtype=flat.dtype)
    return np.asarray(reduce(flat, axis=1))  # [rows]


def _worst(tensor: Tensor, want: Array, have: Array, excess: Array, show: int) -> list[Deviation]:
    order = np.argsort(-excess, kind="stable")[:show]
    return [
        Deviation(tensor.name, int(row), _plain(want, row), _plain(have, row), float(excess[row]))
        for row in order
        if excess[row] > 0
    ]


def _plain(array: Array, row: int) -> Any:
    value = array[row] if array.ndim else array
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _form(array: Array | None) -> str:
    return "no such output" if array is None else f"{array.dtype} {list(array.shape)}"
