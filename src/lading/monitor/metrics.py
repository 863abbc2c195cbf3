"""Accuracy over a period: by labels that came, and estimated without. Tests nothing: the driver does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lading.monitor.decay import bernoulli_interval
from lading.monitor.estimated import estimate_accuracy
from lading.monitor.periods import PARTS, Part, part_of
from lading.monitor.status import MetricPoint, MetricStatus
from lading.profile import Profile
from lading.profile.columns import CONFIDENCE
from lading.profile.live import ColumnWindow
from lading.traffic import Labels

if TYPE_CHECKING:
    from lading.registry import Registry

_LEVEL = 0.05


def metrics_of(
    registry: Registry,
    version: ColumnWindow,
    profile: Profile,
    parts: Sequence[Part],
    period: tuple[float, float],
    spans: Sequence[tuple[float, float]],
) -> tuple[tuple[MetricStatus, ...], tuple[str, ...]]:
    """Return the metrics of the version of a window between two Unix times, and what is not known of it.

    Labels are read that came within one of the `spans` of the period.
    """
    metrics, unknown = [], []
    # Labels are counted by release; a server that follows none, of release 0, reports none to the catalog.
    releases = sorted({window.release for part in parts for window in part.windows} - {0})
    read = registry.traffic.labels(version.name, releases, spans)
    # Both sides of a canary report under its release; only this version's labels count here.
    labels = [each for each in read if each.digest == version.digest]
    if labels:
        # Rows that passed, not those counted: a label may come for any of them.
        rows = sum(window.seen for part in parts for window in part.windows)
        metrics.append(_accuracy(labels, rows, profile.accuracy, period))
    else:
        unknown.append(
            "accuracy: no labels came in this period; "
            f"`POST /models/{version.name}/feedback` accepts them for models with a release"
        )
    estimate = _estimated(profile, parts)
    if estimate is not None:
        metrics.append(estimate)
    # With a calibration but no rows there is nothing to explain: that is said of the columns.
    elif profile.calibration is None:
        unknown.append(
            "estimated accuracy: the reference has no labels, or the model no probabilities; "
            "pack with `--reference` and `--reference-labels`"
        )
    return tuple(metrics), tuple(unknown)


def _accuracy(
    labels: Sequence[Labels], rows: int, reference: float | None, period: tuple[float, float]
) -> MetricStatus:
    wrong, right = _counts(labels)
    # Held at all times together: somebody who looks every minute is not misled by it.
    lower, upper = bernoulli_interval(right, wrong, _LEVEL)
    return MetricStatus(
        kind="accuracy",
        value=right / (right + wrong),
        lower=lower,
        upper=upper,
        # Labels may come for rows of before the period, and then more than passed within it.
        rows=max(rows, right + wrong),
        labelled=right + wrong,
        reference=reference,
        history=tuple(_accuracy_points(labels, period)),
    )


def _counts(labels: Sequence[Labels]) -> tuple[int, int]:
    """Return how many labels say wrong and right."""
    return sum(each.feedback.wrong for each in labels), sum(each.feedback.right for each in labels)


def _accuracy_points(labels: Sequence[Labels], period: tuple[float, float]) -> Iterator[MetricPoint]:
    since, length = period[0], (period[1] - period[0]) / PARTS
    by_part: dict[int, list[Labels]] = {}
    for each in labels:
        by_part.setdefault(part_of(each.at, since, length), []).append(each)
    # Parts without a label have no point: a chart shows a gap, and draws no line across it.
    for part, within in sorted(by_part.items()):
        wrong, right = _counts(within)
        lower, upper = bernoulli_interval(right, wrong, _LEVEL)
        yield MetricPoint(
            at=since + part * length,
            seconds=length,
            rows=wrong + right,
            value=right / (wrong + right),
            lower=lower,
            upper=upper,
        )


def _estimated(profile: Profile, parts: Sequence[Part]) -> MetricStatus | None:
    """Return the estimated accuracy, or None if it cannot be known."""
    calibration = profile.calibration
    # An estimate needs the confidences of live rows, which are a column of their own.
    names = [column.summary for column in profile.columns()]
    if calibration is None or CONFIDENCE not in names:
        return None
    at_confidence = names.index(CONFIDENCE)
    counts = [_cells(part.windows, at_confidence) for part in parts]
    estimate = estimate_accuracy(calibration, [sum(cells) for cells in zip(*counts, strict=True)])
    if estimate is None:
        return None
    points = []
    for part, cells in zip(parts, counts, strict=True):
        point = estimate_accuracy(calibration, cells)
        if point is not None:
            points.append(
                MetricPoint(
                    at=part.at,
                    seconds=part.seconds,
                    rows=point.rows,
                    value=point.accuracy,
                    lower=point.low,
                    upper=point.high,
                )
            )
    return MetricStatus(
        kind="estimated accuracy",
        value=estimate.accuracy,
        lower=estimate.low,
        upper=estimate.high,
        rows=estimate.rows,
        # An estimate is of every row that it is made of: none of them needs a label.
        labelled=estimate.rows,
        reference=profile.accuracy,
        history=tuple(points),
    )


def _cells(windows: Sequence[ColumnWindow], column: int) -> list[int]:
    """Return the counts of one column, by cell."""
    return [sum(cells) for cells in zip(*(window.counts[column] for window in windows), strict=True)]
