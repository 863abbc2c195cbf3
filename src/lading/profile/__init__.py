"""Statistics of columns: the reference one is in the bundle, live ones are counts in its cells.

A column has *cells*: one of missing values, one of values that the reference does not have, then quantile
bins or categories. Whatever is measured later is counted in the cells of the reference, so that counts of any
rows, replicas and hours merge by addition, exactly. Keeps no row, and no value that fewer than ten rows share
but the bounds of bins and the extremes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from lading import notebook

MISSING, UNSEEN = 0, 1
FIRST = 2
"""The first two cells of every column, and the first of its bins or categories."""

Kind = Literal["number", "integer", "boolean", "category", "text", "timestamp"]
Source = Literal["reference", "samples", "log"]

SMALLEST_CATEGORY = 10
"""Categories of fewer rows are folded into the cell of unseen values: they could name a person."""

_LAST_YEAR = 6e10  # 3871; the first is as far from 1970.


class ColumnProfile(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """One column: the values of an input or output at one position of a row, or a summary of its row.

    ``tensor`` is the input or output, ``name`` what people call the column: the name of an input's column
    in the signature, else ``x[3]`` by position or ``probabilities[yes]``, else ``norm of x``. ``position``
    counts along the last axis, -1 where a row is one value. ``summary`` says what of a whole row is measured
    instead, empty for the values themselves.
    ``counts`` has the rows of each cell. Bins are ``(bounds[i - 1], bounds[i]]``, of numbers, of the length
    of a text in characters, or of a time in Unix seconds; ``values`` are the categories, or the one value of
    a column that has no other. A column has one or the other, or neither: then all that is not missing is in
    one cell. ``minimum``, ``maximum``, ``mean`` and ``deviation`` (standard deviation) are of what bins are
    of, without missing and infinite ones; None if nothing is left, and for texts that are categories.
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
        if cell in (MISSING, UNSEEN):
            return "missing" if cell == MISSING else "unseen"
        at = cell - FIRST
        if self.values:
            value = self.values[at]
            return self.text(value) if isinstance(value, float) else str(value)
        if not self.bounds:
            return "any"
        if at == 0:
            return f"≤ {self.text(self.bounds[0])}"
        if at == len(self.bounds):
            return f"> {self.text(self.bounds[-1])}"
        return f"{self.text(self.bounds[at - 1])} – {self.text(self.bounds[at])}"

    def text(self, number: float) -> str:
        """Return a number of the column as people read it: a time as a date, others to six digits."""
        # Years beyond those of `datetime` stay seconds.
        if self.kind == "timestamp" and abs(number) < _LAST_YEAR:
            moment = datetime.fromtimestamp(number, UTC).isoformat(" ", "seconds")
            return moment.removesuffix("+00:00").removesuffix(" 00:00:00")
        return f"{number:.6g}"

    def __repr__(self) -> str:
        what = f"{self.kind}, {self.rows:,} values, {self.missing:,} missing"
        return f"ColumnProfile({notebook.line(self.name)}: {what})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("column", self)


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the reference was predicted right, by bin of the largest probability.

    ``rows`` and ``right`` belong to the cells of the output column whose summary is ``confidence``.
    """

    rows: tuple[int, ...]
    right: tuple[int, ...]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The columns of a model's inputs and outputs over one set of rows.

    ``source`` is what was measured: reference data, the samples without any, or logged requests.
    ``rows`` are the rows measured, ``refused`` those that the signature does not take. The outputs may be
    those of fewer rows: each column says of how many. ``calibration`` is None without labels or
    probabilities; ``right`` of the ``labelled`` rows were predicted right.
    """

    rows: int
    source: Source
    inputs: tuple[ColumnProfile, ...]
    outputs: tuple[ColumnProfile, ...] = ()
    calibration: Calibration | None = None
    refused: int = 0
    labelled: int = 0
    right: int = 0

    @property
    def accuracy(self) -> float | None:
        """Return the share of labelled rows that were predicted right, or None without labels."""
        return self.right / self.labelled if self.labelled else None

    def columns(self) -> Iterator[ColumnProfile]:
        """Return the columns of inputs, then of outputs."""
        yield from self.inputs
        yield from self.outputs

    def __iter__(self) -> Iterator[ColumnProfile]:
        """Iterate over the columns of inputs, then of outputs."""
        return self.columns()

    def column(self, name: str) -> ColumnProfile | None:
        """Return the column that people call `name`, or None."""
        return next((column for column in self.columns() if column.name == name), None)

    def __repr__(self) -> str:
        inputs, outputs = f"{len(self.inputs):,} input columns", f"{len(self.outputs):,} output columns"
        return f"Profile({self.rows:,} rows of {self.source}: {inputs}, {outputs})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("profile", self)
