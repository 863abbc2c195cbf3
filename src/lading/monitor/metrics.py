"""Accuracy over a period: by labels that came, and estimated without. Tests nothing: the driver does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lading.monitor.decay import bernoulli_interval
from lading.monitor.estimated import estimate_accuracy
from lading.monitor.status import MetricPoint, MetricStatus
from lading.profile import Profile
from lading.profile.columns import CONFIDENCE
from lading.profile.live import ColumnWindow, merged

if TYPE_CHECKING:
    from lading.registry import Registry

# As many as the history of a column has, so that both charts show the same hours.
_PARTS = 48
_LEVEL = 0.05
_Labels = tuple[float, int, int]
"""When labels came, and how many of them say wrong and right."""


def metrics_of(
    registry: Registry,
    name: str,
    digest: str,
    profile: Profile,
    windows: Sequence[ColumnWindow],
    period: tuple[float, float],
) -> tuple[tuple[MetricStatus, ...], tuple[str, ...]]:
    """Return the metrics of a version between two Unix times, and what is not known of it, in words."""
    metrics, unknown = [], []
    labels = list(_labels(registry, name, digest, windows, period))
    if labels:
        # Rows that passed, not those counted: a label may come for any of them.
        rows = sum(window.seen for window in windows)
        metrics.append(_accuracy(labels, rows, profile.accuracy, period))
    else:
        unknown.append(
            "accuracy: no labels came in this period; "
            f"`POST /models/{name}/feedback` accepts them for models with a release"
        )
    estimate = _estimated(profile, windows, period)
    if estimate is not None:
        metrics.append(estimate)
    # With a calibration but no rows there is nothing to explain: that is said of the columns.
    elif profile.calibration is None:
        unknown.append(
            "estimated accuracy: the reference has no labels, or the model no probabilities; "
            "pack with `--reference` and `--reference-labels`"
        )
    return tuple(metrics), tuple(unknown)


def _labels(
    registry: Registry,
    name: str,
    digest: str,
    windows: Sequence[ColumnWindow],
    period: tuple[float, float],
) -> Iterator[_Labels]:
    since, until = period
    # Labels are counted by release; a server that follows none, of release 0, reports none to the catalog.
    for release in sorted({window.release for window in windows} - {0}):
        for window in registry.traffic.windows(name, release, since):
            counts = window.feedback
            # Both sides of a canary report under its release; only this version's labels count here.
            if window.digest == digest and window.at < until and counts.right + counts.wrong:
                yield window.at, counts.wrong, counts.right


def _accuracy(
    labels: Sequence[_Labels], rows: int, reference: float | None, period: tuple[float, float]
) -> MetricStatus:
    wrong, right = sum(label[1] for label in labels), sum(label[2] for label in labels)
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


def _accuracy_points(labels: Sequence[_Labels], period: tuple[float, float]) -> Iterator[MetricPoint]:
    since, length = period[0], (period[1] - period[0]) / _PARTS
    for part in range(_PARTS):
        at = since + part * length
        within = [label for label in labels if at <= label[0] < at + length]
        wrong, right = sum(label[1] for label in within), sum(label[2] for label in within)
        if within:
            lower, upper = bernoulli_interval(right, wrong, _LEVEL)
            yield MetricPoint(
                at=at,
                seconds=length,
                rows=wrong + right,
                value=right / (wrong + right),
                lower=lower,
                upper=upper,
            )


def _estimated(
    profile: Profile, windows: Sequence[ColumnWindow], period: tuple[float, float]
) -> MetricStatus | None:
    """Return the estimated accuracy, or None if it cannot be known."""
    calibration = profile.calibration
    # An estimate needs the confidences of live rows, which are a column of their own.
    names = [column.summary for column in profile.columns()]
    if calibration is None or CONFIDENCE not in names:
        return None
    at_confidence = names.index(CONFIDENCE)
    estimate = estimate_accuracy(calibration, merged(windows)[at_confidence])
    if estimate is None:
        return None
    points = []
    since, length = period[0], (period[1] - period[0]) / _PARTS
    for part in range(_PARTS):
        at = since + part * length
        within = [window for window in windows if at <= window.at < at + length]
        point = estimate_accuracy(calibration, merged(within)[at_confidence]) if within else None
        if point is not None:
            points.append(
                MetricPoint(
                    at=at,
                    seconds=length,
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
