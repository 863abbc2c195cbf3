"""The cells of a column as charts and tables show them: shares, rare categories folded. Draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lading.monitor.report.saying import Say, in_english
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


def all_cells(column: ColumnStatus, say: Say = in_english) -> list[Cell]:
    """Return every cell of a column, missing and unseen values first."""
    # At least 1, so that a column without rows has shares of zero and needs no case of its own.
    total, live_total = max(1, sum(column.reference)), max(1, sum(column.live))
    return [
        Cell(label, rows / total, live / live_total, rows, live)
        for label, rows, live in zip(_labels(column, say), column.reference, column.live, strict=True)
    ]


def _labels(column: ColumnStatus, say: Say) -> list[str]:
    # By their place: a category may have any name, `missing` too.
    labels = [say("missing"), say("unseen"), *column.cells[FIRST:]]
    # Numbers and times without bins or values of their own have one cell for all that is not missing.
    if labels[FIRST:] == ["any"] and column.kind in ("number", "timestamp"):
        labels[FIRST] = say("any")
    return labels[: len(column.cells)]


def side_cells(column: ColumnStatus, say: Say = in_english) -> list[Cell]:
    """Return missing and unseen values, each if the column has any."""
    cells = all_cells(column, say)
    return [cells[at] for at in (MISSING, UNSEEN) if cells[at].reference_rows or cells[at].live_rows]


def bar_cells(column: ColumnStatus, say: Say = in_english) -> list[Cell]:
    """Return the categories to draw: the frequent ones and those that changed most, the others as one.

    Numbers and booleans keep their order; of other categories, the most frequent in the reference is first.
    """
    cells = all_cells(column, say)[FIRST:]
    ordered = column.kind in ("integer", "boolean", "number")
    # The order of numbers means something, that of categories is the alphabet's.
    if not ordered:
        cells.sort(key=lambda cell: -cell.reference)
    if len(cells) <= (_MOST_NUMBERS if ordered else _MOST_BARS):
        return cells
    return folded(cells, _MOST_BARS - 1, say)


def folded(cells: Sequence[Cell], most: int, say: Say = in_english) -> list[Cell]:
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
        say("{count} others", count=f"{len(rest):,}"),
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


def largest_difference(column: ColumnStatus, say: Say = in_english) -> Cell:
    """Return the cell whose share changed most."""
    return max(all_cells(column, say), key=lambda cell: abs(cell.live - cell.reference))
