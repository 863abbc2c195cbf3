"""Sections of the page apart from columns: alarms, metrics, input checks, and how to read it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lading.alarms import Alarm
from lading.monitor.report import figures, sentences, timelines
from lading.monitor.report.markup import Markup, joined, name_element, shortened, tag
from lading.monitor.report.sentences import ColumnName, Name, Sentence
from lading.monitor.status import MetricPoint, MetricStatus, ModelStatus

_NO_ANCHORS: Mapping[str, str] = {}
_CHARTS = (
    "The area of a bar is its share of the rows: grey for the reference, a blue line for live rows. The "
    "outermost bars also hold what is below the minimum or above the maximum of the reference; an arrow "
    "names that extreme where the bar is drawn shorter than it is. A bar that is cut off has its share "
    "written above it."
)
_DISTANCES = (
    "Distances between the shares of both, 0 if they are alike. They measure how large a change is. Few "
    "rows differ from any reference, so these raise no alarm: evidence does. Grey under a line of PSI over "
    "time is what that many rows show on average if nothing has changed."
)
_EVIDENCE = (
    "How surprising the live rows are if nothing has changed. The stated rate of false alarms holds however "
    "often somebody looks."
)
_MOST_CHECKS = 50
_MOST_SLICES = 20
_MOST_ALARMS = 200


def section(id: str, title: str, *children: str) -> Markup:
    """Return a section with its heading."""
    heading = tag("h2", title, id=f"{id}-title")
    return tag("section", heading, *children, id=id, aria_labelledby=f"{id}-title")


def sentence_markup(sentence: Sentence, anchors: Mapping[str, str] = _NO_ANCHORS) -> Markup:
    """Return a sentence with its names set apart from its words; columns link to their cards in `anchors`."""
    return joined(
        _name(piece, anchors) if isinstance(piece, Name) else _unbroken(piece) for piece in sentence
    )


def _name(name: str, anchors: Mapping[str, str]) -> Markup:
    element = name_element(name, 60)
    is_link = isinstance(name, ColumnName) and name in anchors
    return tag("a", element, href=f"#{anchors[name]}") if is_link else element


def _unbroken(text: str) -> str:
    """Return a text in which no line ends between a number and its percent sign."""
    return text.replace(" %", "\u00a0%")


def table(header: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> Markup:
    """Return a table; `header` has the name and class of each column, the first of which names the rows."""
    head = tag("tr", *(tag("th", name, scope="col", class_=class_ or None) for name, class_ in header))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=header[at][1] or None) for at, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    return tag("table", tag("thead", head), tag("tbody", *body))


def order_of_changes(status: ModelStatus, anchors: Mapping[str, str]) -> Markup:
    """Return everything that alarms in the order in which it began; nothing if there are fewer than two."""
    alarming = sentences.findings(status)
    # A single finding is in the verdict, word for word.
    if len(alarming) < 2:
        return Markup("")
    items = []
    for finding in alarming[:10]:
        at = "time unknown" if finding.began_at is None else figures.short_moment(finding.began_at)
        release = f" (release {finding.release})" if finding.release not in (0, status.release) else ""
        text = sentence_markup((*sentences.finding_sentence(finding), release), anchors)
        items.append(tag("li", tag("span", at, class_="when"), tag("span", text)))
    more = len(alarming) - len(items)
    if more:
        items.append(tag("li", tag("span", "", class_="when"), f"and {more} more, below"))
    return section("order", "What changed, in order", tag("ol", *items, class_="timeline"))


def unknown_section(status: ModelStatus) -> Markup:
    """Return what is not known; nothing if there is no such thing."""
    items = [tag("li", sentence_markup(sentence)) for sentence in sentences.unknowns(status)]
    return section("unknown", "What is not known", tag("ul", *items)) if items else Markup("")


def alarm_section(status: ModelStatus) -> Markup:
    """Return the alarms of the period as a table: open ones first, in the order in which they began."""
    ordered = sorted(status.alarms, key=lambda alarm: (not alarm.is_open, alarm.began_at))
    if not ordered:
        return Markup("")
    header = (("alarm", ""), ("began", "time"), ("ended", "time"))
    parts = [table(header, [_alarm_row(alarm) for alarm in ordered[:_MOST_ALARMS]])]
    if len(ordered) > _MOST_ALARMS:
        parts.append(tag("p", f"{len(ordered) - _MOST_ALARMS:,} more alarms are not listed.", class_="muted"))
    return section("alarms", "Alarms", *parts)


def _alarm_row(alarm: Alarm) -> list[str]:
    kind = sentences.ALARM_NOUNS.get(alarm.kind, alarm.kind)
    # Alarms about all of the rows are called like what they are about.
    about = [kind, *([": ", name_element(alarm.subject, 40)] if alarm.subject not in ("", kind) else [])]
    text = alarm.text.removeprefix(f"`{alarm.subject}` ")
    notes = [f"raised {figures.short_moment(alarm.raised_at)}"]
    if alarm.release:
        notes.append(f"release {alarm.release}")
    if alarm.acknowledged_by:
        notes.append(f"acknowledged by {alarm.acknowledged_by[:40]}")
    return [
        joined(
            [
                tag(
                    "span",
                    *(["▲ "] if alarm.is_open else []),
                    *about,
                    class_="alarm" if alarm.is_open else "what",
                ),
                tag("span", sentence_markup(sentences.sentence_of(text[:400])), class_="under"),
                tag("span", ", ".join(notes), class_="under muted"),
            ]
        ),
        _time(alarm.began_at),
        "ongoing" if alarm.is_open else _time(alarm.ended_at),
    ]


def _time(unix_s: float) -> str:
    """Return a time that may be broken before the time of the day, and nowhere else."""
    # On a phone, a time that is broken after the number of the day is hard to read.
    day, _, time = figures.short_moment(unix_s).rpartition(" ")
    return f"{day.replace(' ', chr(160))} {time}"


def metric_section(status: ModelStatus) -> Markup:
    """Return accuracy with labels and estimated accuracy: over time, and by slice."""
    if not status.metrics:
        return Markup("")
    cards = [
        _metric_card(status, metric, id=f"metric-{at}")
        for at, metric in enumerate(status.metrics)
        if not metric.slice
    ]
    # With labels and without are not on one axis: their intervals mean different things.
    for kind in dict.fromkeys(metric.kind for metric in status.metrics):
        slices = [metric for metric in status.metrics if metric.kind == kind and metric.slice]
        if slices:
            cards.append(_slice_card(status, slices, id=f"slices-{len(cards)}"))
    return section("metrics", "Accuracy", tag("div", *cards, class_="cards"))


def _metric_card(status: ModelStatus, metric: MetricStatus, *, id: str) -> Markup:
    alarms = sentences.metric_alarms(status, metric)
    badge = tag("span", "▲ alarms", class_="badge") if alarms else ""
    parts = [tag("h3", metric.kind.capitalize(), " ", badge)]
    if metric.rows and (metric.labelled or metric.kind != "accuracy"):
        parts += [
            tag(
                "p",
                tag("span", _unbroken(figures.rate(metric.value)), class_="figure"),
                _unbroken(f" 95 % interval {sentences.interval(metric)}"),
                _unbroken(f"; {figures.rate(metric.reference)} on the reference")
                if metric.reference is not None
                else "",
            ),
            tag("p", sentences.metric_basis(metric), class_="muted small"),
        ]
    else:
        parts.append(tag("p", sentences.metric_basis(metric)))
    if any(point.rows for point in metric.history):
        parts.append(timelines.metric_timeline(metric, (status.since, status.until), id=id))
        parts.append(tag("details", tag("summary", "Values"), _metric_table(metric.history)))
    return tag("article", *parts, class_="card alarming" if alarms else "card")


def _metric_table(history: Sequence[MetricPoint]) -> Markup:
    header = (("from", ""), ("value", "number"), ("95 % interval", "number"), ("rows", "number"))
    return table(
        header,
        [
            (
                figures.short_moment(point.at),
                figures.rate(point.value),
                f"{100 * point.lower:.1f}–{100 * point.upper:.1f}",
                figures.count(point.rows),
            )
            for point in history
            if point.rows
        ],
    )


def _slice_card(status: ModelStatus, slices: Sequence[MetricStatus], *, id: str) -> Markup:
    # The lowest first: an average hides them.
    alarming = {metric.slice for metric in slices if sentences.metric_alarms(status, metric)}
    ordered = sorted(slices, key=lambda metric: (metric.slice not in alarming, metric.value))
    known = [metric for metric in ordered if metric.labelled]
    parts = [tag("h3", f"{slices[0].kind.capitalize()} by slice")]
    if known:
        parts.append(timelines.slice_intervals(known[:_MOST_SLICES], alarming, id=id))
    if len(known) > _MOST_SLICES:
        text = f"The {_MOST_SLICES} lowest of {figures.plural(len(known), 'slice')}."
        parts.append(tag("p", text, class_="muted small"))
    header = (("slice", ""), ("value", "number"), ("95 % interval", "number"), ("rows", "number"))
    rows = [
        (
            name_element(metric.slice, 40),
            figures.rate(metric.value) if metric.labelled else "nothing known",
            f"{100 * metric.lower:.1f}–{100 * metric.upper:.1f}" if metric.labelled else figures.NO_VALUE,
            figures.count(metric.labelled),
        )
        for metric in ordered
    ]
    parts.append(tag("details", tag("summary", "Values"), table(header, rows)))
    return tag("article", *parts, class_="card alarming" if alarming else "card")


def check_section(status: ModelStatus) -> Markup:
    """Return how often input checks failed, the most frequent first."""
    if not status.checks:
        return Markup("")
    ordered = sorted(status.checks, key=lambda check: -check.failures)
    rows = [
        (
            name_element(check.column, 60),
            tag("bdi", shortened(check.rule, 60)),
            figures.count(check.failures),
            # Checks look at every row, not only at those that are counted.
            figures.share(check.failures / status.seen) if status.seen else figures.NO_VALUE,
        )
        for check in ordered[:_MOST_CHECKS]
    ]
    header = (("column", ""), ("rule", ""), ("failures", "number"), ("of all rows", "number"))
    parts = [table(header, rows)]
    if len(ordered) > _MOST_CHECKS:
        parts.append(tag("p", f"{len(ordered) - _MOST_CHECKS:,} more, with fewer failures.", class_="muted"))
    return section("checks", "Input checks that failed", *parts)


def reading_section(status: ModelStatus) -> Markup:
    """Return how to read the page, in a few sentences."""
    terms = (
        ("Charts", _CHARTS),
        (
            "Missing, unseen",
            "Values that are absent, and values or categories that the reference does not have.",
        ),
        ("PSI, Jensen–Shannon", _DISTANCES),
        ("Evidence", _EVIDENCE),
        *((("Alarms", sentences.false_alarms(status)),) if status.columns else ()),
    )
    body = [part for term, text in terms for part in (tag("dt", term), tag("dd", text))]
    return section("reading", "How to read this page", tag("dl", *body, class_="terms"))
