"""How the evidence of a release's checks grows towards what decides: charts and tables. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import unescape

from markupsafe import Markup, escape

from lading.clock import unix_time
from lading.hub.views.release import ReleasePage
from lading.hub.words import Translate
from lading.monitor.report import axes, figures
from lading.monitor.report.distributions import WIDTH
from lading.monitor.report.markup import Markup as Fragment
from lading.monitor.report.markup import joined, line, path, picture, tag, text_at
from lading.verdict import GatePath
from lading.verdict.explain import number

GATES = {
    "max_error_increase": "errors",
    "max_latency_p99_ratio": "latency, 99th percentile",
    "max_latency_p50_ratio": "latency, median",
    "max_output_shift": "distribution of answers",
    "min_agreement": "agreement of both sides",
    "min_value_agreement": "agreement in every number",
    "max_accuracy_drop": "accuracy by feedback",
}
"""What a check looks at, by the name of its gate; keys of the translations."""

# Past twice what decides, how much more there is decides nothing.
_MOST = 2.0
_LEFT, _RIGHT, _TOP, _BASE = 44.0, WIDTH - 8.0, 10.0, 110.0

Period = tuple[float, float]


def period(view: ReleasePage) -> Period:
    """Return from when to when the evidence of a page goes, the same for all of its charts."""
    since = unix_time(view.release.step_started_at)
    return since, max([since + 1, *(each.points[-1].at for each in view.paths)])


def chart(t: Translate, way: GatePath, when: Period, id: str, *, title: str, description: str) -> Markup:
    """Return the evidence of harm and that the limit is kept as two lines, and as a third what decides."""
    since, until = when
    # The lines of all charts end within the picture, and what decides is always in it.
    highest = max((max(point.harm, point.kept or 0) for point in way.points), default=0)
    top = min(_MOST, max(1.1, highest))

    def x(at: float) -> float:
        return _LEFT + min(max((at - since) / (until - since), 0), 1) * (_RIGHT - _LEFT)

    def y(share: float) -> float:
        return _BASE - min(max(share, 0), top) / top * (_BASE - _TOP)

    parts = [line(_LEFT, y(0), _RIGHT, y(0), "axis"), line(_LEFT, y(1), _RIGHT, y(1), "mark")]
    parts += [text_at(_LEFT - 6, y(each) + 4, f"{100 * each:.0f} %", anchor="end") for each in (0, 0.5, 1)]
    ticks, step = axes.time_ticks(since, until, 4)
    for at in ticks:
        parts.append(line(x(at), _BASE, x(at), _BASE + 3, "axis"))
        if _LEFT + 12 <= x(at) <= _RIGHT - 12:
            parts.append(text_at(x(at), _BASE + 15, figures.tick_time(at, step, t.plain), anchor="middle"))
    parts += _trace([(x(point.at), y(point.harm)) for point in way.points], "harm")
    kept = [(x(point.at), y(point.kept)) for point in way.points if point.kept is not None]
    parts += _trace(kept, "kept")
    # A template has them escaped already, which `markup.tag` does as well.
    texts = unescape(title), unescape(description)
    # Escaped by construction, as all that goes through `markup.tag`.
    return Markup(picture(WIDTH, _BASE + 20, *texts, id=id, body=joined(parts)))  # noqa: S704


def _trace(points: Sequence[tuple[float, float]], class_: str) -> list[Fragment]:
    if len(points) > 1:
        return [path(points, class_)]
    return [tag("circle", cx=x, cy=y, r=3, class_=f"dot {class_}") for x, y in points]


def rows(way: GatePath) -> Markup:
    """Return the rows of the table of a path, newest first: when, e-value, both shares of what decides."""
    cells: list[str] = []
    # The newest first, as in all tables of times.
    for point in reversed(way.points):
        values = (number(point.e_value), share(point.harm), share(point.kept))
        numbers = "".join(f'<td class="number">{escape(value)}</td>' for value in values)
        cells.append(f'<tr><th scope="row"><time>{_second(point.at)}</time></th>{numbers}</tr>')
    return Markup("".join(cells))  # noqa: S704 - figures alone, and escaped


def share(value: float | None) -> str:
    """Return a part of what decides in percent, from 0, where nothing speaks for it, to twice as much."""
    if value is None:
        return figures.NO_VALUE
    return f"> {100 * _MOST:.0f} %" if value > _MOST else f"{100 * max(value, 0):.0f} %"


def _second(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def words(gates: Sequence[str]) -> dict[str, str]:
    """Return what some checks look at, by the names of their gates."""
    return {gate: GATES[gate] for gate in gates}


e_value = number
