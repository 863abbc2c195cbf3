"""Statistics of columns: the reference one lies in the bundle, live ones are counts in its cells.

A column has *cells*: one of missing values, one of values that the reference does not have, then quantile
bins or categories. Whatever is measured later is counted in the cells of the reference, so that counts of any
rows, replicas and hours merge by addition, exactly. Keeps no row, and no value that fewer than ten rows share
but the bounds of bins and the extremes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

MISSING, UNSEEN = 0, 1
"""The first two cells of every column; bins or categories follow."""

Kind = Literal["number", "integer", "boolean", "category", "text", "timestamp"]
Source = Literal["reference", "samples", "log"]

SMALLEST_CATEGORY = 10
"""Categories of fewer rows are folded into the cell of unseen values: they could name a person."""


class ColumnProfile(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """One column: the values of an input or output at one position of a row, or a summary of its row.

    ``tensor`` is the input or output, ``name`` what people call the column: its name in the signature, else
    ``x[3]`` by position, else ``norm of x``. ``position`` counts along the last axis, -1 where a row is one
    value. ``summary`` says what of a whole row is measured instead, empty for the values themselves.
    ``counts`` has the rows of each cell. Bins are ``(bounds[i - 1], bounds[i]]``, of numbers, of the length
    of a text in characters, or of a time in Unix seconds; ``values`` are the categories. A column has one or
    the other. ``minimum``, ``maximum``, ``mean`` and ``deviation`` (standard deviation) are of the values
    that are not missing; None where nothing is.
    """

    tensor: str
    name: str
    kind: Kind
    counts: tuple[int, ...]
    position: int = -1
    summary: str = ""
    bounds: tuple[float, ...] = ()
    values: tuple[str | bool | float, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    deviation: float | None = None

    @property
    def rows(self) -> int:
        """Return how many values were measured, missing ones included."""
        return sum(self.counts)

    @property
    def missing(self) -> int:
        """Return how many values were missing."""
        return self.counts[MISSING]

    @property
    def is_binned(self) -> bool:
        """Return whether its cells are bins along an axis; those of others are categories."""
        return not self.values

    def label(self, cell: int) -> str:
        """Return what people call a cell: ``missing``, ``unseen``, a category, or a range."""
        if cell == MISSING:
            return "missing"
        if cell == UNSEEN:
            return "unseen"
        at = cell - 2
        if self.values:
            value = self.values[at]
            return (
                value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
            )
        if not self.bounds:
            return "any"
        if at == 0:
            return f"≤ {self.bounds[0]:.6g}"
        if at == len(self.bounds):
            return f"> {self.bounds[-1]:.6g}"
        return f"{self.bounds[at - 1]:.6g} – {self.bounds[at]:.6g}"


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the reference was predicted right, by bin of the largest probability.

    ``rows`` and ``right`` belong to the cells of the output column whose summary is ``confidence``.
    """

    rows: tuple[int, ...]
    right: tuple[int, ...]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The columns of a model's inputs and outputs over one set of rows.

    ``source`` is what was measured: reference data, the samples for want of others, or logged requests.
    ``rows`` are the rows measured. ``calibration`` is None where no labels were passed.
    """

    rows: int
    source: Source
    inputs: tuple[ColumnProfile, ...]
    outputs: tuple[ColumnProfile, ...] = ()
    calibration: Calibration | None = None

    def __iter__(self) -> Iterator[ColumnProfile]:  # type: ignore[override]  # of columns, not of fields
        """Iterate over the columns of inputs, then of outputs."""
        yield from self.inputs
        yield from self.outputs

    def column(self, name: str) -> ColumnProfile | None:
        """Return the column that people call `name`, or None."""
        return next((column for column in self if column.name == name), None)
