"""The live traffic of one model: the verdict, alarms, accuracy, and each column beside its reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from lading.alarms import Alarm
from lading.hub.spreadsheet import Cell
from lading.hub.views.tables import Page, TableState, one_of, page_of
from lading.monitor.report import cells, sentences
from lading.monitor.snapshot import NOT_TESTED, SLICES_NOT_TESTED
from lading.monitor.status import CheckCount, ColumnPoint, ColumnStatus, MetricStatus, ModelStatus

PERIODS = {"1d": 86_400.0, "7d": 7 * 86_400.0, "30d": 30 * 86_400.0}
"""What can be looked at, in seconds: windows are kept for five weeks."""

SORTS = ("drift", "name", "missing")
CARDS_A_PAGE = 30
_MOST_FINDINGS = 20
_MOST_SLICES = 20
_MOST_CHECKS = 50

Verdict = Literal["unknown", "alarming", "untested", "partly tested", "calm"]
Gap = Literal["no rows", "no test", "no test yet", "golden samples", "no labels", "no estimate"]
"""What is not known: no rows at all, no process that tests, no comparison with the training data, …"""


class MonitoringState(TableState, frozen=True, kw_only=True):
    """What the page shows of a model; ``since`` is the length of the period, up to now."""

    since: str = "1d"

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> MonitoringState:
        """Return the state in the parameters of an address. Raises `UsageError` as `TableState.of` does."""
        table, since = TableState.of(query, SORTS), query.get("since", "1d")
        one_of("`since`", since, tuple(PERIODS))
        return cls(q=table.q, sort=table.sort, page=table.page, since=since)

    def link(self, **changes: Any) -> str:
        """Return the query of the same page with changes; from its first page if they change its rows."""
        state = msgspec.structs.replace(self, **{"page": 1, **changes})
        page = str(state.page) if state.page > 1 else ""
        # Always with the period, so that a link means the same to whom it is sent.
        values = {"since": state.since, "q": state.q, "sort": state.sort, "page": page}
        return f"?{urlencode({name: value for name, value in values.items() if value})}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that alarms, since when if that is known, and from which release on; 0 for none."""

    kind: str
    subject: str
    change: str
    began_at: float | None
    release: int


class CellCount(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a column: how many rows of the reference and how many live ones are in it."""

    label: str
    reference: int
    live: int
    reference_share: float
    live_share: float


class ColumnCard(msgspec.Struct, frozen=True, kw_only=True):
    """One column with its chart's numbers. ``failed_checks`` are failures by rule."""

    status: ColumnStatus
    is_alarming: bool
    missing_before: float
    missing_now: float
    cells: list[CellCount]
    failed_checks: dict[str, int]

    @property
    def history(self) -> list[ColumnPoint]:
        """The parts of the period that have rows."""
        return [point for point in self.status.history if point.rows]


class MonitoringPage(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model's live traffic.

    ``drifted`` of ``known_columns`` columns alarm, ``waiting`` are not tested yet. ``findings`` are in the
    order in which they began. ``metrics`` are of all rows, ``slices`` by kind of metric; ``unread_slices`` is
    why slices are not tested, empty if they are or if there are none.
    """

    name: str
    version: int
    digest: str
    release: int
    since: float
    until: float
    verdict: Verdict
    drifted: int
    of_columns: int
    known_columns: int
    waiting: int
    findings: list[Finding]
    gaps: list[Gap]
    reference: str
    reference_rows: int
    rows: int
    seen: int
    replicas: tuple[str, ...]
    share_read: float
    alpha: float
    alarms: list[Alarm]
    metrics: list[MetricStatus]
    slices: dict[str, list[MetricStatus]]
    alarming_slices: list[str]
    unread_slices: str
    checks: list[CheckCount]
    columns: Page[ColumnCard]


def monitoring_page(status: ModelStatus, state: MonitoringState) -> MonitoringPage:
    """Return the page of a model of which `status` is known over the period."""
    everything = sentences.findings(status)
    findings = [
        Finding(
            kind=each.kind,
            subject=each.subject,
            change=each.change,
            began_at=each.began_at,
            release=each.release,
        )
        for each in everything
    ]
    # What alarmed without a test, such as a failed check, does not make up for tests that did not happen.
    waiting = sum(each.is_tested and each.log_e is None for each in sentences.known_columns(status))
    by_slice: dict[str, list[MetricStatus]] = {}
    for metric in status.metrics:
        if metric.slice and metric.labelled:
            by_slice.setdefault(metric.kind, []).append(metric)
    # The lowest first: an average hides them.
    slices = {kind: sorted(of, key=lambda each: each.value)[:_MOST_SLICES] for kind, of in by_slice.items()}
    return MonitoringPage(
        name=status.name,
        version=status.version,
        digest=status.digest,
        release=status.release,
        since=status.since,
        until=status.until,
        verdict=_verdict(status, alarming=bool(findings), waiting=waiting),
        drifted=sum(each.kind == "column" for each in findings),
        of_columns=len(status.columns),
        known_columns=len(sentences.known_columns(status)),
        waiting=waiting,
        findings=findings[:_MOST_FINDINGS],
        gaps=list(_gaps(status)),
        reference=status.reference,
        reference_rows=status.reference_rows,
        rows=status.rows,
        seen=status.seen,
        replicas=status.replicas,
        share_read=status.share_read,
        alpha=status.alpha,
        alarms=sorted(status.alarms, key=lambda alarm: (not alarm.is_open, -alarm.began_at)),
        metrics=[metric for metric in status.metrics if not metric.slice],
        slices=slices,
        alarming_slices=[each.slice for each in status.metrics if sentences.metric_alarms(status, each)],
        unread_slices=next(
            (
                text.removeprefix(SLICES_NOT_TESTED)
                for text in status.unknown
                if text.startswith(SLICES_NOT_TESTED)
            ),
            "",
        ),
        checks=sorted(status.checks, key=lambda check: -check.failures)[:_MOST_CHECKS],
        columns=_cards(status, state),
    )


def _verdict(status: ModelStatus, *, alarming: bool, waiting: int) -> Verdict:
    # An open alarm counts, even if no row came since: what it says may still hold.
    if alarming:
        return "alarming"
    due = [column for column in sentences.known_columns(status) if column.is_tested]
    # "Nothing alarms" and "nothing is known" are different answers.
    if not due and not status.metrics:
        return "unknown"
    if not waiting:
        return "calm"
    return "untested" if waiting == len(due) else "partly tested"


def _gaps(status: ModelStatus) -> Iterator[Gap]:
    # Without a digest no version answered, and everything else follows from that.
    if not status.digest:
        yield "no rows"
        return
    if NOT_TESTED in status.unknown:
        yield "no test"
    elif not any(column.log_e is not None for column in status.columns):
        yield "no test yet"
    if status.reference == "golden samples":
        yield "golden samples"
    kinds = {metric.kind for metric in status.metrics}
    if "accuracy" not in kinds:
        yield "no labels"
    if "estimated accuracy" not in kinds:
        yield "no estimate"


def _cards(status: ModelStatus, state: MonitoringState) -> Page[ColumnCard]:
    # What alarms is first, then by PSI, unless another order is asked for.
    ranks = {id(column): rank for rank, column in enumerate(sentences.ranked(status, status.columns))}
    page = page_of(
        status.columns,
        state,
        texts=lambda column: (column.name, column.tensor),
        keys={
            "drift": lambda column: ranks[id(column)],
            "name": lambda column: (column.name, column.tensor),
            "missing": lambda column: (-cells.missing_shares(column)[1], column.name),
        },
        default="drift",
        rows_a_page=CARDS_A_PAGE,
    )
    return Page(
        rows=[_card(status, column) for column in page.rows],
        state=page.state,
        total=page.total,
        of=page.of,
        pages=page.pages,
    )


def _card(status: ModelStatus, column: ColumnStatus) -> ColumnCard:
    before, now = cells.missing_shares(column)
    return ColumnCard(
        status=column,
        is_alarming=sentences.is_alarming(status, column),
        missing_before=before,
        missing_now=now,
        cells=[
            CellCount(
                label=cell.label,
                reference=cell.reference_rows,
                live=cell.live_rows,
                reference_share=cell.reference,
                live_share=cell.live,
            )
            for cell in cells.all_cells(column)
        ],
        # An output may be called like an input, and only inputs are checked.
        failed_checks={
            check.rule: check.failures
            for check in status.checks
            if check.column == column.name and not column.is_output
        },
    )


Table = tuple[tuple[str, ...], list[tuple[Cell, ...]]]
"""The names of columns, and rows."""

_COLUMNS = (
    *("column", "tensor", "kind", "side", "rows", "psi", "jensen_shannon"),
    *("missing_share_reference", "missing_share", "is_alarming", "began_at", "change"),
)
_ACCURACY = ("metric", "slice", "at", "seconds", "rows", "value", "lower", "upper")


def tables(status: ModelStatus) -> dict[str, Table]:
    """Return everything behind the charts as tables, by name; times are Unix times."""
    columns = status.columns
    return {
        "columns": (_COLUMNS, [_column_row(status, column) for column in columns]),
        # Long rather than wide: columns have different cells, and programs group by name.
        "cells": (
            ("column", "side", "cell", "reference", "live"),
            [
                (column.name, _side(column), cell.label, cell.reference_rows, cell.live_rows)
                for column in columns
                for cell in cells.all_cells(column)
            ],
        ),
        "drift": (
            ("column", "side", "at", "seconds", "rows", "psi", "missing_share"),
            [
                (column.name, _side(column), at.at, at.seconds, at.rows, at.psi, at.missing_share)
                for column in columns
                for at in column.history
            ],
        ),
        "accuracy": (
            _ACCURACY,
            [
                (metric.kind, metric.slice, at.at, at.seconds, at.rows, at.value, at.lower, at.upper)
                for metric in status.metrics
                for at in metric.history
            ],
        ),
        "checks": (
            ("column", "rule", "failures"),
            [(check.column, check.rule, check.failures) for check in status.checks],
        ),
    }


def _column_row(status: ModelStatus, column: ColumnStatus) -> tuple[Cell, ...]:
    before, now = cells.missing_shares(column)
    return (
        *(column.name, column.tensor, column.kind, _side(column), column.rows),
        *(column.psi, column.jensen_shannon, before, now),
        "yes" if sentences.is_alarming(status, column) else "no",
        column.began_at,
        column.change,
    )


def _side(column: ColumnStatus) -> str:
    return "output" if column.is_output else "input"
