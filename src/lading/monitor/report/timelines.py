"""Charts along time, and intervals of slices. Knows nothing of pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from lading.monitor.distances import expected_psi
from lading.monitor.report import axes, figures
from lading.monitor.report.distributions import WIDTH
from lading.monitor.report.markup import (
    Markup,
    fitted,
    joined,
    line,
    path,
    picture,
    rect,
    shortened,
    tag,
    text_at,
)
from lading.monitor.report.saying import Say, capitalised, in_english
from lading.monitor.status import ColumnPoint, ColumnStatus, MetricPoint, MetricStatus

_LEFT, _RIGHT = 8.0, WIDTH - 8.0
_SPARK_TOP, _SPARK_BASE = 18.0, 58.0
_BAND_LEFT, _BAND_TOP, _BAND_BASE = 40.0, 10.0, 120.0
_LEAST_PSI = 0.1
_ROW = 24.0
_LABEL = 126.0
_VALUES = 48.0

Point = TypeVar("Point", ColumnPoint, MetricPoint)


class _Period(NamedTuple):
    since: float
    until: float
    left: float

    def x(self, at: float) -> float:
        # What began before the period is marked at its start.
        length = max(self.until - self.since, 1.0)
        return self.left + min(max((at - self.since) / length, 0.0), 1.0) * (_RIGHT - self.left)

    def axis(self, y: float, most: int, say: Say) -> Markup:
        ticks, step = axes.time_ticks(self.since, self.until, most)
        parts = [line(self.left, y, _RIGHT, y, "axis")]
        for at in ticks:
            x = self.x(at)
            parts.append(line(x, y, x, y + 3, "axis"))
            if self.left + 12 <= x <= _RIGHT - 12:
                parts.append(text_at(x, y + 15, figures.tick_time(at, step, say), anchor="middle"))
        return joined(parts)


def psi_timeline(
    column: ColumnStatus, period: tuple[float, float], *, id: str, say: Say = in_english
) -> Markup:
    """Return PSI over the period beside what its rows show without drift, and a mark where the drift began.

    Parts without rows are gaps.
    """
    when = _Period(*period, _LEFT)
    # On an axis up to the largest value, the noise of an unchanged column would look like mountains.
    top = max([_LEAST_PSI, *(point.psi for point in column.history if point.rows)])
    parts = [when.axis(_SPARK_BASE, 4, say)]
    for run in _runs(column.history):
        points = [(when.x(_middle(point)), _height(point.psi, 0, top)) for point in run]
        # Few rows differ from any reference: without this, a quiet night would look like drift.
        expected = [(when.x(_middle(point)), _height(_expected(column, point), 0, top)) for point in run]
        parts += [_area(points, "spark-area"), _area(expected, "expected"), *_trace(points, "live")]
    most = say("PSI, up to {value}", value=figures.distance(top))
    parts.append(text_at(_LEFT, 11, most, class_="muted-text"))
    if column.began_at is not None:
        began = say("began {time}", time=figures.short_moment(column.began_at, say))
        parts.append(_mark(when.x(column.began_at), began))
    title = say("PSI of {name} over time", name=shortened(column.name, 80))
    return picture(WIDTH, _SPARK_BASE + 20, title, _psi_description(column, say), id=id, body=joined(parts))


def _expected(column: ColumnStatus, point: ColumnPoint) -> float:
    return expected_psi(column.reference, point.rows) if sum(column.reference) else 0.0


def _area(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return the area between points and the baseline of a small chart."""
    return path([(points[0][0], _SPARK_BASE), *points, (points[-1][0], _SPARK_BASE)], class_, closed=True)


def _psi_description(column: ColumnStatus, say: Say) -> str:
    values = [point.psi for point in column.history if point.rows]
    if not values:
        return say("No part of the period has rows.")
    return say(
        "From {first} at first to {last} at the end; the highest is {highest}.",
        first=figures.distance(values[0]),
        last=figures.distance(values[-1]),
        highest=figures.distance(max(values)),
    )


def _height(value: float, low: float, high: float) -> float:
    return _SPARK_BASE - min((value - low) / (high - low), 1.0) * (_SPARK_BASE - _SPARK_TOP)


def _mark(x: float, label: str) -> Markup:
    # The label is on the side that has room for it.
    # It is below the name of the axis where both would be in one place.
    anchor, at = ("start", x + 5) if x < WIDTH * 0.62 else ("end", x - 5)
    near = 11.0 if x > 130 or anchor == "end" else 26.0
    return joined(
        [
            line(x, 4, x, _SPARK_BASE, "mark"),
            text_at(at, near, label, anchor=anchor, class_="alarm-text"),
        ]
    )


def metric_timeline(
    metric: MetricStatus, period: tuple[float, float], *, id: str, say: Say = in_english
) -> Markup:
    """Return a metric over the period with its band of 95 %, and the reference as a dashed line."""
    when = _Period(*period, _BAND_LEFT)
    points = [point for point in metric.history if point.rows]
    values = [value for point in points for value in (point.lower, point.upper)]
    if metric.reference is not None:
        values.append(metric.reference)
    low, high = _range(values)

    def y(value: float) -> float:
        return _BAND_BASE - (value - low) / (high - low) * (_BAND_BASE - _BAND_TOP)

    parts = [when.axis(_BAND_BASE, 4, say)]
    for value in axes.round_values(low, high, 4):
        parts.append(line(_BAND_LEFT, y(value), _RIGHT, y(value), "grid"))
        parts.append(text_at(_BAND_LEFT - 6, y(value) + 4, figures.share(value), anchor="end"))
    for run in _runs(metric.history):
        xs = [when.x(_middle(point)) for point in run]
        upper = [(x, y(point.upper)) for x, point in zip(xs, run, strict=True)]
        lower = [(x, y(point.lower)) for x, point in zip(xs, run, strict=True)]
        # An area of a single point has no width.
        if len(run) == 1:
            parts.append(line(*upper[0], *lower[0], "whisker"))
        else:
            parts.append(path([*upper, *reversed(lower)], "band", closed=True))
        parts += _trace([(x, y(point.value)) for x, point in zip(xs, run, strict=True)], "live")
    if metric.reference is not None:
        parts.append(line(_BAND_LEFT, y(metric.reference), _RIGHT, y(metric.reference), "reference-line"))
    title = capitalised(say("{metric} over time", metric=say(metric.kind)))
    return picture(WIDTH, _BAND_BASE + 20, title, _metric_description(metric, say), id=id, body=joined(parts))


def _metric_description(metric: MetricStatus, say: Say) -> str:
    points = [point for point in metric.history if point.rows]
    if not points:
        return say("No part of the period has rows.")
    first, last = figures.rate(points[0].value), figures.rate(points[-1].value)
    ends = say("From {first} at first to {last} at the end.", first=first, last=last)
    if metric.reference is None:
        return ends
    reference = say("The reference has {value}.", value=figures.rate(metric.reference))
    return f"{ends} {reference}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of an axis of shares around `values`, with a little room."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    # A metric that never changed still needs an axis of some length.
    room = max(0.08 * (high - low), 0.005)
    return max(low - room, 0.0), min(high + room, 1.0 + room / 2)


def slice_intervals(
    metrics: Sequence[MetricStatus], alarming: Collection[str], *, id: str, say: Say = in_english
) -> Markup:
    """Return the interval of each slice on one axis, with its reference as a tick; mark `alarming` slices."""
    values = [value for metric in metrics for value in (metric.lower, metric.upper)]
    values += [metric.reference for metric in metrics if metric.reference is not None]
    low, high = _range(values)
    all_rows = say("all rows")
    right = WIDTH - _VALUES

    def x(value: float) -> float:
        return _LABEL + (value - low) / (high - low) * (right - _LABEL)

    base = len(metrics) * _ROW + 4
    parts = [line(_LABEL, base, right, base, "axis")]
    for value in axes.round_values(low, high, 3):
        parts.append(line(x(value), 2, x(value), base, "grid"))
        parts.append(text_at(x(value), base + 15, figures.share(value), anchor="middle"))
    for at, metric in enumerate(metrics):
        y = at * _ROW + _ROW / 2 + 2
        tone = " alarm" if metric.slice in alarming else ""
        label = ("▲ " if metric.slice in alarming else "") + fitted(metric.slice or all_rows, 16)
        parts += [
            text_at(_LABEL - 8, y + 4, label, anchor="end", class_=f"label{tone}"),
            line(x(metric.lower), y, x(metric.upper), y, f"whisker{tone}"),
            tag("circle", cx=x(metric.value), cy=y, r=3.5, class_=f"dot{tone}"),
            text_at(WIDTH, y + 4, figures.rate(metric.value), anchor="end", class_="value"),
        ]
        if metric.reference is not None:
            parts.append(rect(x(metric.reference) - 1.25, y - 7, 2.5, 14, "reference-tick"))
    title = capitalised(say("{metric} by slice", metric=say(metrics[0].kind)))
    described = ", ".join(
        f"{shortened(metric.slice or all_rows, 80)} {figures.rate(metric.value)}" for metric in metrics
    )
    return picture(WIDTH, base + 20, title, described, id=id, body=joined(parts))


def _trace(points: Sequence[tuple[float, float]], class_: str) -> list[Markup]:
    """Return a line through points, or a dot if it is only one."""
    if len(points) > 1:
        return [path(points, class_)]
    return [tag("circle", cx=x, cy=y, r=3, class_="dot") for x, y in points]


def _middle(point: ColumnPoint | MetricPoint) -> float:
    return point.at + point.seconds / 2


# A line across hours without rows would say that something is known of them.
def _runs(history: Iterable[Point]) -> Iterator[list[Point]]:
    """Iterate over the longest runs of points with rows and no time between them."""
    run: list[Point] = []
    for point in history:
        if run and (not point.rows or point.at > run[-1].at + 1.5 * run[-1].seconds):
            yield run
            run = []
        if point.rows:
            run.append(point)
    if run:
        yield run
