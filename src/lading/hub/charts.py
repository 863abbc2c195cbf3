"""The charts of the monitoring page, as markup of its templates: those of `lading monitor report`.

They carry classes and no styles of their own: `hub.css` colours them in light and dark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from markupsafe import Markup, escape

from lading.hub.sentences import say, translated
from lading.hub.words import Translate
from lading.monitor.distances import expected_psi
from lading.monitor.report import cells, distributions, figures, sentences, timelines
from lading.monitor.report.markup import shortened
from lading.monitor.report.sections import sentence_markup
from lading.monitor.status import ColumnPoint, ColumnStatus, MetricStatus

Period = tuple[float, float]

_LONGEST = 400


def distribution(t: Translate, column: ColumnStatus, id: str) -> Markup:
    """Return the reference and live values of a column over each other; `id` is unique on the page."""
    # What the chart is described by has one language: a change that has no other wording is beside it.
    change = column.change if t.language == "en" else translated(t, column.change) or ""
    described = sentences.description(column, t.plain, change.replace("`", ""))
    return _markup(distributions.distribution(column, described, id=id, say=t.plain))


def drift(t: Translate, column: ColumnStatus, period: Period, id: str) -> Markup:
    """Return the PSI of a column over a period, beside what so few rows show without drift."""
    return _markup(timelines.psi_timeline(column, period, id=id, say=t.plain))


def accuracy(t: Translate, metric: MetricStatus, period: Period, id: str) -> Markup:
    """Return a metric over a period, with its interval and the reference's value."""
    return _markup(timelines.metric_timeline(metric, period, id=id, say=t.plain))


def slices(t: Translate, metrics: Sequence[MetricStatus], alarming: Collection[str], id: str) -> Markup:
    """Return the intervals of slices on one axis."""
    return _markup(timelines.slice_intervals(metrics, alarming, id=id, say=t.plain))


def cell_labels(t: Translate, column: ColumnStatus) -> list[str]:
    """Return what the cells of a column are called on a page."""
    return [cell.label for cell in cells.all_cells(column, t.plain)]


def words(t: Translate, text: str) -> Markup:
    """Return the text of an alarm in the language of a page, with the names in it set apart.

    One that is not known is as the monitor wrote it, and marked as English, or an error.
    """
    own = translated(t, text) if t.language != "en" else text
    if own is None:
        return say(t, text)
    return _markup(sentence_markup(sentences.sentence_of(shortened(own, _LONGEST))))


def drift_rows(column: ColumnStatus, history: Iterable[ColumnPoint]) -> Markup:
    """Return the rows of a table of drift over time: when, PSI, PSI without drift, missing values, rows.

    Here and not in a template: there are thousands on a page, and a template takes ten times as long.
    """
    rows, has_reference = [], any(column.reference)
    # Only figures are in it, and they are escaped all the same: one begins with "<".
    for point in history:
        expected = expected_psi(column.reference, point.rows) if has_reference else None
        distances = (figures.distance(point.psi), figures.distance(expected))
        numbers = (*distances, figures.share(point.missing_share), count(point.rows))
        values = "".join(f'<td class="number">{escape(number)}</td>' for number in numbers)
        rows.append(f'<tr><th scope="row"><time>{moment(point.at)}</time></th>{values}</tr>')
    return _markup("".join(rows))


# The templates know this module alone: the figures of a chart and of a table are written alike.
count = figures.count
distance = figures.distance
moment = figures.moment
percent = figures.share
rate = figures.rate


def _markup(markup: str) -> Markup:
    # Escaped by construction: every text in a chart goes through `lading.monitor.report.markup.tag`.
    return Markup(markup)  # noqa: S704
