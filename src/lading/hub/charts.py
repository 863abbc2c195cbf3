"""The charts of the monitoring page, as markup of its templates: those of `lading monitor report`.

They carry classes and no styles of their own: `hub.css` colours them in light and dark.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from markupsafe import Markup, escape

from lading.hub.sentences import translated
from lading.hub.words import Translate
from lading.monitor.distances import expected_psi
from lading.monitor.report import distributions, figures, sentences, timelines
from lading.monitor.report.markup import shortened
from lading.monitor.report.sections import sentence_markup
from lading.monitor.status import ColumnPoint, ColumnStatus, MetricStatus

Period = tuple[float, float]

_LONGEST = 400


def distribution(column: ColumnStatus, id: str) -> Markup:
    """Return the reference and live values of a column over each other; `id` is unique on the page."""
    return _picture(distributions.distribution(column, sentences.description(column), id=id))


def drift(column: ColumnStatus, period: Period, id: str) -> Markup:
    """Return the PSI of a column over a period, beside what so few rows show without drift."""
    return _picture(timelines.psi_timeline(column, period, id=id))


def accuracy(metric: MetricStatus, period: Period, id: str) -> Markup:
    """Return a metric over a period, with its interval and the reference's value."""
    return _picture(timelines.metric_timeline(metric, period, id=id))


def slices(metrics: Sequence[MetricStatus], alarming: Collection[str], id: str) -> Markup:
    """Return the intervals of slices on one axis."""
    return _picture(timelines.slice_intervals(metrics, alarming, id=id))


def words(t: Translate, text: str) -> Markup:
    """Return the text of an alarm in the language of a page, with the names in it set apart.

    One that is not known is as the monitor wrote it, and marked as English.
    """
    own = translated(t, text) if t.language != "en" else text
    markup = sentence_markup(sentences.sentence_of(shortened(text if own is None else own, _LONGEST)))
    return _markup(markup if own is not None else f'<span lang="en">{markup}</span>')


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
        cells = "".join(f'<td class="number">{escape(number)}</td>' for number in numbers)
        rows.append(f'<tr><th scope="row"><time>{moment(point.at)}</time></th>{cells}</tr>')
    return _markup("".join(rows))


count = figures.count
distance = figures.distance
moment = figures.moment
percent = figures.share
rate = figures.rate


def _picture(markup: str) -> Markup:
    # Its title and description are those of the report, in English, whatever the language of the page.
    return _markup(markup.replace("<svg ", '<svg lang="en" ', 1))


def _markup(markup: str) -> Markup:
    # Escaped by construction: every text in a chart goes through `lading.monitor.report.markup.tag`.
    return Markup(markup)  # noqa: S704
