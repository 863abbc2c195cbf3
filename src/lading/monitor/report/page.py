"""The page as a whole: the verdict, what it rests on, and the sections below. Reads no catalog and no clock.

It is one file that loads nothing: no script, no font, no image. Its own policy forbids it to.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

from lading.monitor.report import figures, sections, sentences
from lading.monitor.report.cells import missing_shares
from lading.monitor.report.column_card import column_card
from lading.monitor.report.markup import Markup, joined, line, name_element, rect, shortened, tag
from lading.monitor.report.sections import section, sentence_markup
from lading.monitor.status import ColumnStatus, ModelStatus

MOST_CARDS = 60
"""So many columns are shown in full; the others are rows of a table."""

_MOST_OUTPUT_CARDS = 20
_LATE_S = 900.0
_CONTENTS = {
    "order": "What changed",
    "unknown": "Not known",
    "alarms": "Alarms",
    "metrics": "Accuracy",
    "checks": "Input checks",
    "outputs": "Outputs",
    "inputs": "Inputs",
    "reading": "How to read this page",
}


def report_html(status: ModelStatus, *, now: float, generated_by: str) -> str:
    """Return the page about a model as HTML; `now` is the Unix time at which it was made."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    inputs, outputs = _shown_in_full(status)
    cards = {
        **{column.name: f"outputs-{at}" for at, column in enumerate(outputs)},
        **{column.name: f"inputs-{at}" for at, column in enumerate(inputs)},
    }
    parts = {
        "order": sections.order_of_changes(status, cards),
        "unknown": sections.unknown_section(status),
        "alarms": sections.alarm_section(status),
        "metrics": sections.metric_section(status),
        "checks": sections.check_section(status),
        "outputs": _columns(status, outputs, "outputs", "Outputs", is_output=True),
        "inputs": _columns(status, inputs, "inputs", "Inputs", is_output=False),
        "reading": sections.reading_section(status),
    }
    contents = _contents(id for id, part in parts.items() if part)
    main = tag("main", _top(status, cards), contents, *parts.values(), _foot(status, now, generated_by))
    # Of many open tabs, the title says which one to look at.
    title = f"{sentences.title(status)} · {sentences.plain(sentences.verdict(status)[0])}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title[:200]),
        tag("style", Markup(style)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', main), lang='en')}\n"


def _policy(style: str) -> str:
    # Of the style alone: a name that got through as markup could load and run nothing.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'"


def _contents(ids: Iterable[str]) -> Markup:
    links = [tag("a", _CONTENTS[id], href=f"#{id}") for id in ids]
    return tag("nav", *links, aria_label="Sections", class_="small")


def _top(status: ModelStatus, cards: Mapping[str, str]) -> Markup:
    verdict = sentences.verdict(status)
    tone = "lead alarming" if sentences.findings(status) else "lead"
    return tag(
        "header",
        tag("p", "Live traffic report", class_="muted small"),
        tag("h1", name_element(status.name), f":{status.version}" if status.version else ""),
        tag("p", sentence_markup(verdict[0], cards), class_=tone),
        *(tag("p", sentence_markup(sentence, cards), class_="then") for sentence in verdict[1:]),
        _facts(status),
    )


def _facts(status: ModelStatus) -> Markup:
    pairs = [
        ("Period", sentences.period(status)),
        ("Release", str(status.release) if status.release else ""),
        ("Owner", status.owner),
        ("Digest", status.digest[: len("sha256:") + 12]),
        ("Rows counted", sentences.counted(status)),
        ("Compared with", sentences.comparison(status)),
        ("False alarms", sentences.false_alarms(status) if status.columns else ""),
    ]
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", tag("bdi", shortened(value, 400))))
            for name, value in pairs
            if value
        ),
        class_="facts",
    )


def _shown_in_full(status: ModelStatus) -> tuple[list[ColumnStatus], list[ColumnStatus]]:
    """Return the inputs and outputs that are shown as cards: what alarms first, then by PSI."""
    # Outputs are few, and what people act on; but a thousand classes must not displace the inputs.
    ordered = [column for column in sentences.ranked(status, status.columns) if column.rows]
    outputs = [column for column in ordered if column.is_output][:_MOST_OUTPUT_CARDS]
    inputs = [column for column in ordered if not column.is_output]
    return inputs[: MOST_CARDS - len(outputs)], outputs


def _columns(
    status: ModelStatus, in_full: Sequence[ColumnStatus], id: str, title: str, *, is_output: bool
) -> Markup:
    columns = [column for column in status.columns if column.is_output == is_output]
    if not columns:
        return Markup("")
    rest = sentences.ranked(status, [column for column in columns if column not in in_full])
    # A column without live rows has no card: a chart of its reference would look like a chart of both.
    parts: list[str] = [
        tag("p", f"{figures.plural(len(columns), 'column')}. What alarms is first, then by PSI.")
    ]
    if in_full:
        cards = [column_card(status, column, id=f"{id}-{at}") for at, column in enumerate(in_full)]
        parts += [_legend(), tag("div", *cards, class_="cards")]
    if rest:
        heading = f"{len(rest):,} more" if in_full else f"{len(rest):,}"
        parts += [tag("h3", f"{heading}, in short"), _short_table(status, rest)]
    return section(id, title, *parts)


def _legend() -> Markup:
    def swatch(*shapes: str) -> Markup:
        return tag("svg", *shapes, viewBox="0 0 22 12", width="22", height="12", aria_hidden="true")

    return tag(
        "p",
        tag("span", swatch(rect(0, 1, 22, 10, "reference")), " reference"),
        tag("span", swatch(rect(1, 2, 20, 8, "live-bar"), line(0, 2, 22, 2, "live")), " live"),
        class_="legend",
    )


def _short_table(status: ModelStatus, columns: Sequence[ColumnStatus]) -> Markup:
    header = (("column", ""), ("PSI", "number"), ("missing", "number"), ("state", ""))
    return sections.table(header, [_short_row(status, column) for column in columns])


def _short_row(status: ModelStatus, column: ColumnStatus) -> tuple[str, ...]:
    name = name_element(column.name, 60)
    if not column.rows:
        return name, figures.NO_VALUE, figures.NO_VALUE, tag("span", "nothing known", class_="unknown")
    before, now = missing_shares(column)
    alarms = sentences.is_alarming(status, column)
    is_tested = column.is_tested and column.log_e is not None
    state = "▲ drifted" if alarms else "no alarm" if is_tested else "not tested"
    return (
        name,
        figures.distance(column.psi),
        f"{figures.share(before)} → {figures.share(now)}",
        tag("span", state, class_="alarm" if alarms else "muted"),
    )


def _foot(status: ModelStatus, now: float, generated_by: str) -> Markup:
    text = f"Made at {figures.moment(now)} by {generated_by}."
    # A page is read long after it was written, and forwarded.
    if now - status.until > _LATE_S:
        text += f" The period ended {figures.span(now - status.until)} before."
    return tag("footer", tag("p", joined([text]), class_="muted small"))
