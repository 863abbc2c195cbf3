"""Which cell of a column each value falls into. Measures nothing by itself; `measure` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lading.profile import FIRST, MISSING, UNSEEN, ColumnProfile
from lading.signature import Array

_NOISE = 1e-5  # of a number, as answers of two machines differ
_SMALL = 0.01
_MANY = 256  # values, from which on sorting them is faster


class Cells:
    """The cells of one column, prepared for arrays of its values."""

    def __init__(self, column: ColumnProfile) -> None:
        self.column = column
        self.size = len(column.counts)
        self._bounds = np.array(column.bounds, np.float64)
        self._marks: dict[np.dtype[Any], Array] = {}
        self._texts: dict[str, int] | None = None
        if column.kind == "category":
            self._texts = {str(value): at for at, value in enumerate(column.values, FIRST)}
        numbers = np.array([] if self._texts is not None else column.values, np.float64)
        self._order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._order]

    def of(self, values: Array) -> Array:
        """Return the cell of each of `values`, a flat array of what the column measures: ``[rows]``."""
        if self._texts is not None:
            texts = self._texts
            # The empty text is a missing value, as it is where categories have one.
            return np.array(
                [texts.get(value, UNSEEN) if value else MISSING for value in values.tolist()], np.intp
            )
        # Exact for every dtype but large integers, which are rounded as their bounds were.
        numbers = np.asarray(values, np.float64)
        if self._numbers.size:
            at = np.minimum(np.searchsorted(self._numbers, numbers), self._numbers.size - 1)
            cells: Array = np.where(self._numbers[at] == numbers, self._order[at] + FIRST, UNSEEN)
        else:
            cells = np.searchsorted(self._bounds, numbers, side="left") + FIRST
        if values.dtype.kind == "f":
            finite = np.isfinite(numbers)
            if not finite.all():
                cells[~finite] = np.where(np.isnan(numbers[~finite]), MISSING, UNSEEN)
        return cells

    def counts(self, values: Array) -> Array:
        """Return how many of `values` fall into each cell: ``[cells]``."""
        if (
            values.dtype.kind == "f"
            and len(values) >= _MANY
            and self._texts is None
            and not self._numbers.size
        ):
            return self._counts_sorted(values)
        return np.bincount(self.of(values), minlength=self.size)

    def _counts_sorted(self, values: Array) -> Array:
        """Return the counts of floats in bins without the bin of each: sorting takes a fifth of the time."""
        ordered = np.sort(values)  # NaN comes last.
        ends = np.searchsorted(ordered, self._marks_of(values.dtype), side="right")
        counts = np.zeros(self.size, np.int64)
        counts[MISSING] = len(ordered) - ends[-1]
        counts[UNSEEN] = ends[0] + ends[-1] - ends[-2]
        counts[FIRST:] = ends[1:-1] - ends[:-2]
        return counts

    def _marks_of(self, dtype: np.dtype[Any]) -> Array:
        """Return the ends of -inf, of each bin, of finite values and of inf, in the dtype of the values."""
        marks = self._marks.get(dtype)
        if marks is None:
            with np.errstate(over="ignore"):
                bounds = self._bounds.astype(dtype)
            # Rounded down: a value is at most the bound exactly if it is at most that. In float64, all values
            # would be copied for a few bounds.
            above = bounds.astype(np.float64) > self._bounds
            bounds[above] = np.nextafter(bounds[above], dtype.type(-np.inf))
            ends = np.array([np.finfo(dtype).max, np.inf], dtype)
            marks = np.concatenate([np.array([-np.inf], dtype), bounds, ends])
            self._marks[dtype] = marks
        return marks


def quantile_bounds(values: Array, bins: int, *, computed: bool = False) -> tuple[float, ...]:
    """Return the upper bounds of at most `bins` bins with about the same number of `values` in each.

    Bounds are values that occur, so the share of a continuous column that falls into a bin is known but for
    chance: it has a beta distribution, whatever the column's own is. The last bin has no bound. Of `computed`
    values, which another machine may round otherwise, a bound is a little above the one that occurs.
    """
    size = len(values)
    ranks = np.unique(np.arange(1, bins) * (size + 1) // bins) - 1
    ranks = ranks[(ranks >= 0) & (ranks < size)]
    if not len(ranks):
        return ()
    bounds = np.unique(np.partition(values, ranks)[ranks])
    # A bound at the maximum would leave the last bin empty.
    bounds = bounds[bounds < values.max()]
    if computed and len(bounds):
        ordered = np.unique(values)
        following = ordered[np.searchsorted(ordered, bounds, side="right")]
        # Half of the way to the next value at most: the rows of each bin stay the same.
        above = np.minimum(bounds + _NOISE * np.maximum(np.abs(bounds), _SMALL), (bounds + following) / 2)
        bounds = np.where(above < following, above, bounds)
    return tuple(bounds.tolist())


def bins_for(rows: int, most: int = 20) -> int:
    """Return into how many bins `rows` values are divided: ten values or more in each."""
    return max(1, min(most, rows // 10))


def add(counts: Sequence[int], others: Sequence[int]) -> list[int]:
    """Return the sums of the counts of two sets of rows, cell by cell."""
    return [a + b for a, b in zip(counts, others, strict=True)]
