"""Which cell of a column each value falls into. Measures nothing by itself; `columns` does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lading.profile import MISSING, UNSEEN, ColumnProfile
from lading.signature import Array

_FIRST = 2


class Cells:
    """The cells of one column, prepared for arrays of its values."""

    def __init__(self, column: ColumnProfile) -> None:
        self.column = column
        self.size = len(column.counts)
        self._bounds = np.array(column.bounds, np.float64)
        self._texts: dict[str, int] | None = None
        if column.values and column.kind == "category" and isinstance(column.values[0], str):
            self._texts = {str(value): at for at, value in enumerate(column.values, _FIRST)}
        numbers = np.array([] if self._texts is not None else column.values, np.float64)
        self._order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._order]

    def of(self, values: Array) -> Array:
        """Return the cell of each of `values`, a flat array of what the column measures: ``[rows]``."""
        if self._texts is not None:
            texts = self._texts
            # The empty text is a missing value, as it is where categories have one.
            return np.fromiter(
                (texts.get(value, UNSEEN) if value else MISSING for value in values.tolist()),
                np.intp,
                len(values),
            )
        numbers = np.asarray(values, np.float64)
        missing = np.isnan(numbers)
        if self._numbers.size:
            at = np.minimum(np.searchsorted(self._numbers, numbers), self._numbers.size - 1)
            cells = np.where(self._numbers[at] == numbers, self._order[at] + _FIRST, UNSEEN)
        else:
            cells = np.searchsorted(self._bounds, numbers, side="left") + _FIRST
            cells[np.isinf(numbers)] = UNSEEN
        cells[missing] = MISSING
        return cells

    def counts(self, values: Array) -> Array:
        """Return how many of `values` fall into each cell: ``[cells]``."""
        return np.bincount(self.of(values), minlength=self.size)


def quantile_bounds(values: Array, bins: int) -> tuple[float, ...]:
    """Return the upper bounds of at most `bins` bins with about the same number of `values` in each.

    Bounds are values that occur, so the share of a continuous column that falls into a bin is known but for
    chance: it has a beta distribution, whatever the column's own is. The last bin has no bound.
    """
    size = len(values)
    ranks = np.unique(np.arange(1, bins) * (size + 1) // bins) - 1
    ranks = ranks[(ranks >= 0) & (ranks < size)]
    if not len(ranks):
        return ()
    bounds = np.unique(np.partition(values, ranks)[ranks])
    # A bound at the maximum would leave the last bin empty.
    return tuple(float(bound) for bound in bounds if bound < values.max())


def bins_for(rows: int, most: int = 20) -> int:
    """Return into how many bins `rows` values are divided: ten values or more in each."""
    return max(1, min(most, rows // 10))


def add(counts: Sequence[int], others: Sequence[int]) -> list[int]:
    """Return the sums of the counts of two sets of rows, cell by cell."""
    return [a + b for a, b in zip(counts, others, strict=True)]
