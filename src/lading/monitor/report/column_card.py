"""One column as a card: in words, as a chart, in numbers, over time, and as a table of its cells."""

from __future__ import annotations

from lading.monitor.distances import expected_psi
from lading.monitor.report import distributions, figures, sentences, timelines
from lading.monitor.report.cells import Cell, all_cells, folded, missing_shares
from lading.monitor.report.markup import Markup, joined, name_element, tag
from lading.monitor.report.sections import sentence_markup
from lading.monitor.status import ColumnStatus, ModelStatus

_MOST_ROWS = 40
_WORTH_SAYING = 0.02
"""From this PSI on, what so few rows show without any change stands beside it."""


def column_card(status: ModelStatus, column: ColumnStatus, *, id: str) -> Markup:
    """Return the card of a column with live values; `id` is unique on the page."""
    alarms = sentences.is_alarming(status, column)
    parts = [
        tag("h3", name_element(column.name), " ", _mark(column, alarms=alarms)),
        tag("p", _about(column), class_="muted small"),
    ]
    change = _change(column)
    if change:
        parts.append(tag("p", sentence_markup(sentences.sentence_of(change)), class_="change"))
    description = sentences.description(column)
    parts += [distributions.distribution(column, description, id=id), _numbers(column)]
    parts.append(tag("p", sentences.evidence(column), class_="evidence"))
    # Of a column that changes by its nature, PSI over time is a line at the top of the chart.
    if column.is_tested and any(point.rows for point in column.history):
        parts.append(timelines.psi_timeline(column, (status.since, status.until), id=f"{id}-time"))
    parts.append(tag("details", tag("summary", "Counts"), cell_table(column)))
    return tag("article", *parts, class_="card alarming" if alarms else "card", id=id)


def _mark(column: ColumnStatus, *, alarms: bool) -> Markup:
    if alarms:
        return tag("span", "▲ drifted", class_="badge")
    if column.is_tested and column.log_e is not None:
        return Markup("")
    return tag("span", "not tested yet" if column.is_tested else "not tested", class_="badge quiet")


def _about(column: ColumnStatus) -> Markup:
    kind = {"text": "length of text, in characters", "timestamp": "time"}.get(column.kind, column.kind)
    rows = f"{figures.plural(column.rows, 'live value')}"
    # The tensor is worth naming only where several columns come from it.
    if column.tensor == column.name:
        return joined([f"{kind} · {rows}"])
    return joined([f"{kind} · ", name_element(column.tensor, 40), f" · {rows}"])


def _change(column: ColumnStatus) -> str:
    """Return what changed and since when; empty if nothing is known to have."""
    if not column.change and column.began_at is None:
        return ""
    change = column.change[:1].upper() + column.change[1:300] or "Changed"
    if column.began_at is None:
        return f"{change.rstrip('.')}."
    return f"{change.rstrip('.')}, since {figures.moment(column.began_at)}."


def _numbers(column: ColumnStatus) -> Markup:
    # In the order in which people ask: how far, how far by another measure, and is it only missing values.
    before, now = missing_shares(column)
    expected = expected_psi(column.reference, column.rows) if sum(column.reference) else 0.0
    note = f"{figures.distance(expected)} if unchanged" if expected >= _WORTH_SAYING else ""
    triples = [
        ("PSI", figures.distance(column.psi), note),
        ("Jensen–Shannon", figures.distance(column.jensen_shannon), ""),
        ("missing", f"{figures.share(before)} → {figures.share(now)}" if before or now else "none", ""),
    ]
    return tag(
        "dl",
        *(
            tag(
                "div",
                tag("dt", name),
                tag("dd", value, tag("span", f" {note}", class_="note") if note else ""),
            )
            for name, value, note in triples
        ),
        class_="numbers",
    )


def cell_table(column: ColumnStatus) -> Markup:
    """Return the counts behind the chart of a column as a table."""
    head = tag(
        "thead",
        tag(
            "tr",
            tag("th", "cell", scope="col"),
            tag("th", "reference", scope="col", class_="number"),
            tag("th", "live", scope="col", class_="number"),
        ),
    )
    rows = [_row(cell) for cell in folded(all_cells(column), _MOST_ROWS)]
    return tag("table", head, tag("tbody", *rows))


def _row(cell: Cell) -> Markup:
    return tag(
        "tr",
        tag("th", name_element(cell.label, 40), scope="row"),
        _count(cell.reference_rows, cell.reference),
        _count(cell.live_rows, cell.live),
    )


def _count(rows: int, share: float) -> Markup:
    counted = tag("span", figures.count(rows), class_="muted")
    return tag("td", counted, " ", figures.share(share), class_="number")
