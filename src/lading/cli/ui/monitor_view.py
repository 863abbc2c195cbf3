"""How a model's live traffic is shown: the verdict, and a row for each column. Reads nothing itself."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.cli.ui import printing
from lading.cli.ui.release_view import FINE, HARM, UNKNOWN
from lading.units import NO_VALUE

if TYPE_CHECKING:
    from lading.monitor.status import ColumnPoint, ColumnStatus, MetricStatus, ModelStatus

_COLUMN_HEADER = ("column", "state", "  PSI", "over time", "missing", "since (UTC)", "change")
_METRIC_HEADER = ("metric", "state", "value", "95 % interval", "reference", "rows with a label")
_CHECK_HEADER = ("check", "column", "failures", "of all rows")
_WIDE_ONLY = ("over time", "missing", "since (UTC)")
_NARROW = 80
_FEWEST_COLUMNS = 5
_MOST_COLUMNS = 20
_MOST_ALARMING = 50
_MOST_CHECKS = 10
_NAME_LENGTH = 40
_BLOCKS = "▁▂▃▄▅▆▇█"
_PARTS = 12
_LEAST_PSI = 0.1


def print_status(status: ModelStatus) -> None:
    """Print the verdict on a model, what is not known, and tables of columns, metrics and input checks."""
    from lading.monitor.report import sentences

    for line in status_lines(status):
        printing.data(line)
    is_narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < _NARROW
    columns = _most_notable(status, _FEWEST_COLUMNS if is_narrow else _MOST_COLUMNS)
    if columns:
        printing.data("")
        rows = [_column_row(status, column) for column in columns]
        # On a narrow terminal, what the report shows better is left out.
        left_out = _WIDE_ONLY if is_narrow else ()
        printing.table(*_without(_COLUMN_HEADER, rows, left_out))
        rest = len(sentences.known_columns(status)) - len(columns)
        if rest:
            noun = "column" if rest == 1 else "columns"
            printing.info(f"{rest} more {noun}: see `lading monitor report {status.name}`")
    if status.metrics:
        printing.data("")
        printing.table(_METRIC_HEADER, [_metric_row(status, metric) for metric in status.metrics])
    if status.checks:
        printing.data("")
        printing.table(_CHECK_HEADER, _check_rows(status))


def status_lines(status: ModelStatus) -> list[str]:
    """Return the head and the verdict as lines; a symbol before each sentence says what kind it is."""
    from lading.monitor.report import sentences

    release = f", release {status.release}" if status.release else ""
    lines = [
        f"{sentences.title(status)}{release}, {sentences.period(status)}",
        f"{sentences.counted(status)}, compared with {sentences.comparison(status)}",
        "",
    ]
    first, *others = [sentences.plain(sentence) for sentence in sentences.verdict(status)]
    # Only what was tested and does not alarm is fine.
    calm = FINE if first == sentences.NOTHING_ALARMS else UNKNOWN
    mark = HARM if sentences.findings(status) else calm
    lines += [f"{mark} {first}", *(f"  {sentence}" for sentence in others)]
    return [*lines, *(f"{UNKNOWN} {sentences.plain(sentence)}" for sentence in sentences.unknowns(status))]


def _most_notable(status: ModelStatus, most: int) -> list[ColumnStatus]:
    """Return the columns that have a row: what alarms, and of the others those that differ most."""
    from lading.monitor.report import sentences

    known = sentences.ranked(status, sentences.known_columns(status))
    alarming = sum(1 for column in known if sentences.is_alarming(status, column))
    return known[: max(most, min(alarming, _MOST_ALARMING))]


def _without(
    header: Sequence[str], rows: Sequence[Sequence[str]], names: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Return a table without the columns of these `names` and without those that are empty."""
    kept = [at for at, name in enumerate(header) if name not in names and any(row[at] for row in rows)]
    return [header[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _column_row(status: ModelStatus, column: ColumnStatus) -> tuple[str, ...]:
    from lading.monitor.report import cells, figures, sentences

    before, now = cells.missing_shares(column)
    is_tested = column.is_tested and column.log_e is not None
    # A large difference that does not alarm is not fine, and a reader compares it with the PSI beside it.
    calm = "not certain yet" if sentences.is_large(column) else "no alarm"
    state = "drifted" if sentences.is_alarming(status, column) else calm if is_tested else "not tested"
    return (
        _short(column.name),
        state,
        figures.distance(column.psi).rjust(5),
        _over_time(column.history, status.since, status.until) if column.is_tested else "",
        f"{figures.share(before)} → {figures.share(now)}" if before or now else NO_VALUE,
        figures.short_moment(column.began_at) if column.began_at is not None else "",
        column.change,
    )


def _over_time(history: Sequence[ColumnPoint], since: float, until: float) -> str:
    """Return PSI over the period as a line of blocks; a part without rows is a dot."""
    peaks: list[float | None] = [None] * _PARTS
    for point in history:
        if point.rows:
            share = (point.at + point.seconds / 2 - since) / max(until - since, 1.0)
            part = min(max(int(share * _PARTS), 0), _PARTS - 1)
            peaks[part] = max(point.psi, peaks[part] or 0.0)
    # As in the report: the noise of an unchanged column stays low.
    top = max(_LEAST_PSI, *(peak or 0.0 for peak in peaks))
    return "".join("·" if peak is None else _BLOCKS[round(peak / top * 7)] for peak in peaks)


def _metric_row(status: ModelStatus, metric: MetricStatus) -> tuple[str, ...]:
    from lading.monitor.report import figures, sentences

    name = f"{metric.kind}, {_short(metric.slice)}" if metric.slice else metric.kind
    # An accuracy of no labels is a number that means nothing.
    if not metric.labelled:
        return name, "nothing known", NO_VALUE, NO_VALUE, figures.rate(metric.reference), "0"
    labelled = f"{figures.count(metric.labelled)} of {figures.count(metric.rows)}"
    # Of a slice that does not alarm it is not known here whether it is tested.
    calm = NO_VALUE if metric.slice else "no alarm"
    return (
        name,
        "alarms" if sentences.metric_alarms(status, metric) else calm,
        figures.rate(metric.value),
        sentences.interval(metric),
        figures.rate(metric.reference),
        labelled if metric.kind == "accuracy" else NO_VALUE,
    )


def _check_rows(status: ModelStatus) -> list[tuple[str, ...]]:
    from lading.monitor.report import figures

    ordered = sorted(status.checks, key=lambda check: -check.failures)
    return [
        (
            _short(check.rule),
            _short(check.column),
            figures.count(check.failures),
            figures.share(check.failures / status.seen) if status.seen else NO_VALUE,
        )
        for check in ordered[:_MOST_CHECKS]
    ]


def _short(text: str) -> str:
    return text if len(text) <= _NAME_LENGTH else f"{text[: _NAME_LENGTH - 1]}…"
