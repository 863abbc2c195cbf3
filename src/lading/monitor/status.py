"""What is known of one model's live columns over a period: what `lading monitor status` and reports show.

Words and numbers alone; `snapshot` makes them of what the catalog has.
"""

from __future__ import annotations

import msgspec

from lading import notebook
from lading.alarms import Alarm


class ColumnPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One column in one part of the period, which began at ``at`` and lasted ``seconds``."""

    at: float
    seconds: float
    rows: int
    psi: float
    missing_share: float
    log_e: float | None = None


class ColumnStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One column: its reference and live counts by cell, how far they are apart, and since when.

    ``cells`` names the cells; ``bounds`` are those of bins, empty for categories. ``minimum`` and ``maximum``
    are of the reference. ``rows`` is how many live values were counted; 0 is "nothing known", and then the
    distances are None. ``change`` says in words what is different, empty if nothing is known to be.
    ``is_tested`` is false for columns that change by their nature, such as times.
    """

    name: str
    tensor: str
    kind: str
    is_output: bool
    cells: tuple[str, ...]
    bounds: tuple[float, ...]
    reference: tuple[int, ...]
    live: tuple[int, ...]
    rows: int
    minimum: float | None = None
    maximum: float | None = None
    psi: float | None = None
    jensen_shannon: float | None = None
    # Logarithms of e-values: after weeks of drift the value itself is beyond any float.
    log_e: float | None = None
    began_at: float | None = None
    # As the driver decided over all columns; evidence alone does not say so.
    is_alarming: bool = False
    is_tested: bool = True
    change: str = ""
    history: tuple[ColumnPoint, ...] = ()


class MetricPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A metric in one part of the period, with its interval of 95 %; ``rows`` are those that it is of."""

    at: float
    seconds: float
    rows: int
    value: float
    lower: float
    upper: float


class MetricStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy with labels, or estimated without: its value over the period, and the reference's.

    ``kind`` is ``accuracy`` or ``estimated accuracy``; ``slice`` is empty for all rows, else ``city = Oslo``.
    ``labelled`` rows of ``rows`` had a label by now; for an estimate both are the rows that it is of.
    ``delay_s`` is the median time from an answer to its label, None if it is not known.
    """

    kind: str
    value: float
    lower: float
    upper: float
    rows: int
    labelled: int
    slice: str = ""
    reference: float | None = None
    is_alarming: bool = False
    # How old the newest accuracy may be: labels of loans come after months.
    delay_s: float | None = None
    history: tuple[MetricPoint, ...] = ()


class CheckCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often one input check failed in the period."""

    column: str
    rule: str
    failures: int


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model over the period from ``since`` to ``until`` (Unix times).

    ``reference`` says what live rows are compared with: ``reference data``, ``golden samples``, or ``log``;
    empty where the bundle has no profile, and then nothing is known of its columns. ``rows`` of ``seen``
    were counted, in the windows that were read: ``share_read`` of those of the period. ``unknown`` lists in
    words what cannot be said, and why.
    """

    name: str
    version: int
    digest: str
    release: int
    owner: str
    since: float
    until: float
    reference: str
    reference_rows: int
    rows: int
    seen: int
    replicas: tuple[str, ...]
    alpha: float
    columns: tuple[ColumnStatus, ...] = ()
    metrics: tuple[MetricStatus, ...] = ()
    checks: tuple[CheckCount, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    # In words, so that the terminal, the page and JSON say it alike.
    unknown: tuple[str, ...] = ()
    share_read: float = 1.0

    def __repr__(self) -> str:
        alarming = sum(column.is_alarming for column in self.columns)
        unknown = sum(not column.rows for column in self.columns)
        # Columns of which nothing is known are not among those that are well.
        columns = f"{alarming} of {len(self.columns)} columns alarm, nothing is known of {unknown}"
        return f"ModelStatus({self.name}:{self.version}, {self.rows:,} rows: {columns})"

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows, or None without the extra ``hub``."""
        return notebook.fragment("status", self)
