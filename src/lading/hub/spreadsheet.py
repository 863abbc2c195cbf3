"""Tables as CSV that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

# A spreadsheet takes what begins like this for a formula, by whomever it was written: OWASP, "CSV Injection".
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | int | float | None


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table as CSV; a text that would be a formula has an apostrophe in front, None is empty."""
    out = io.StringIO()
    # Lines end in CRLF, as in RFC 4180, which is the default of `csv`.
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def _cell(cell: Cell) -> Cell:
    # Blanks in front do not keep a spreadsheet from it. Numbers are ours, and may be negative.
    if isinstance(cell, str) and (cell.startswith(_FORMULAS) or cell.lstrip().startswith(_FORMULAS)):
        return f"'{cell}"
    return cell
