"""The cells of a column as charts and tables show them: shares, rare categories folded. Draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lading.monitor.status import ColumnStatus
from lading.profile import FIRST, MISSING, UNSEEN

_MOST_BARS = 12
_MOST_NUMBERS = 20


class Cell(NamedTuple):
    """One cell, with its share of the rows of the reference and of live rows."""

    label: str
    reference: float
    live: float
    reference_rows: int
    live_rows: int


def all_cells(column: ColumnStatus) -> list[Cell]:
    """Return every cell of a column, missing and unseen values first."""
    # At least 1, so that a column without rows has shares of zero and needs no case of its own.
    total, live_total = max(1, sum(column.reference)), max(1, sum(column.live))
    return [
        Cell(label, rows / total, live / live_total, rows, live)
        for label, rows, live in zip(column.cells, column.reference, column.live, strict=True)
    ]


def side_cells(column: ColumnStatus) -> list[Cell]:
    """Return missing and unseen values, each if the column has any."""
    cells = all_cells(column)
    return [cells[at] for at in (MISSING, UNSEEN) if cells[at].reference_rows or cells[at].live_rows]


def bar_cells(column: ColumnStatus) -> list[Cell]:
    """Return the categories to draw: the frequent ones and those that changed most, the others as one.

    Numbers and booleans keep their order; of other categories, the most frequent in the reference is first.
    """
    cells = all_cells(column)[FIRST:]
    ordered = column.kind in ("integer", "boolean", "number")
    # The order of numbers means something, that of categories is the alphabet's.
    if not ordered:
        cells.sort(key=lambda cell: -cell.reference)
    if len(cells) <= (_MOST_NUMBERS if ordered else _MOST_BARS):
        return cells
    return folded(cells, _MOST_BARS - 1)


def folded(cells: Sequence[Cell], most: int) -> list[Cell]:
    """Return the `most` cells that matter, in their order, and a last one of all the others."""
    # "1 others" would take as much room as the cell itself.
    if len(cells) <= most + 1:
        return list(cells)
    # A rare category that grew matters more than a frequent one that did not.
    weight = sorted(
        range(len(cells)),
        key=lambda at: (
            -max(cells[at].reference, cells[at].live, 4 * abs(cells[at].reference - cells[at].live))
        ),
    )
    kept = set(weight[:most])
    rest = [cell for at, cell in enumerate(cells) if at not in kept]
    others = Cell(
        f"{len(rest):,} others",
        sum(cell.reference for cell in rest),
        sum(cell.live for cell in rest),
        sum(cell.reference_rows for cell in rest),
        sum(cell.live_rows for cell in rest),
    )
    return [*(cell for at, cell in enumerate(cells) if at in kept), others]


def missing_shares(column: ColumnStatus) -> tuple[float, float]:
    """Return the shares of missing values in the reference and in live rows."""
    cell = all_cells(column)[MISSING]
    return cell.reference, cell.live


def largest_difference(column: ColumnStatus) -> Cell:
    """Return the cell whose share changed most."""
    return max(all_cells(column), key=lambda cell: abs(cell.live - cell.reference))
