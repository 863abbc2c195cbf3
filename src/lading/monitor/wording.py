"""What changed, in words: a column that is higher by so much, wider, more missing; an accuracy that is lower.

Says what stands out most in the counts that it gets, of the windows since an alarm began; whether it is
more than chance is the business of `drift`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from lading.monitor.dispersion import Floats
from lading.monitor.experts import normal_scores
from lading.profile import MISSING, UNSEEN, ColumnProfile

Aspect = Literal["location", "scale", "missing", "unseen", "cell"]

_FIRST = 2
_PREFERRED = 1.5  # a shift explains what many cells do, and should not lose to the largest of them
_MOST_SCORE = 0.9  # of the outermost bin's score: the mean cannot show more than that


class Change(msgspec.Struct, frozen=True):
    """The change that stands out most.

    ``size`` is in standard deviations for ``location``, a ratio of standard deviations for ``scale``, else
    the live share minus the reference share of the cell. ``text`` is a phrase for people.
    """

    aspect: Aspect
    size: float
    text: str


def describe(column: ColumnProfile, counts: Sequence[float]) -> str:
    """Return in words how `counts` differ most from the reference of `column`; empty without rows."""
    change = change_of(column, counts)
    return change.text if change else ""


def describe_decay(before: float, now: float, slice: str = "") -> str:
    """Return in words how the accuracy of all rows, or of those of a slice, has changed."""
    rows = f"where `{slice}`" if slice else "over labelled rows"
    return f"accuracy {rows}: {100 * before:.1f} % -> {100 * now:.1f} %"


def change_of(column: ColumnProfile, counts: Sequence[float]) -> Change | None:
    """Return how `counts`, rows by cell, differ most from the reference of `column`; None without rows."""
    live, reference = np.array(counts, np.float64), np.array(column.counts, np.float64)
    if not live.sum() or not reference.sum():
        return None
    candidates = [_cell_change(column, cell, live, reference) for cell in range(len(live))]
    if column.is_binned and live[_FIRST:].sum() and np.count_nonzero(reference[_FIRST:]) > 1:
        candidates += _moment_changes(live[_FIRST:], reference[_FIRST:])
    return max(candidates, key=lambda candidate: candidate[0])[1]


def _cell_change(column: ColumnProfile, cell: int, live: Floats, reference: Floats) -> tuple[float, Change]:
    """Return a cell's change and how much it stands out: the root of its deviance."""
    before, now = reference[cell] / reference.sum(), live[cell] / live.sum()
    likely = (reference[cell] + 0.5) / (reference.sum() + 1)
    # The root of the deviance, which does not take one value that the reference lacks for a great change.
    weight = math.sqrt(2 * live.sum() * max(_divergence(now, likely), 0.0))
    label = column.label(cell)
    aspects: dict[int, Aspect] = {MISSING: "missing", UNSEEN: "unseen"}
    subject = {MISSING: "missing values", UNSEEN: "values that the reference does not have"}.get(
        cell, f"values {label}" if column.is_binned else f"category `{label}`"
    )
    text = f"{subject}: {percent(before)} -> {percent(now)}"
    return weight, Change(aspects.get(cell, "cell"), float(now - before), text)


def _moment_changes(live: Floats, reference: Floats) -> list[tuple[float, Change]]:
    """Return the changes of mean and spread on a scale on which the reference is standard normal."""
    scores, shares = normal_scores(reference), reference / reference.sum()
    rows, now = live.sum(), live / live.sum()
    variance = float(shares @ scores**2)
    mean = float(now @ scores)
    # Bins hide part of the spread: the reference's own, binned alike, has less than 1.
    shift = mean / variance
    around = float(now @ (scores - mean) ** 2)
    kurtosis = float(shares @ (scores**2 - variance) ** 2)
    at_edge = abs(mean) > _MOST_SCORE * float(np.abs(scores).max())
    size = f"{'at least ' if at_edge else ''}{abs(shift):.2g}"
    location = Change("location", shift, f"{'higher' if mean > 0 else 'lower'} by {size} standard deviations")
    ratio = math.sqrt(max(around / variance, 1e-6))
    scale = Change(
        "scale",
        ratio,
        f"{'wider' if ratio > 1 else 'narrower'}: standard deviation {ratio:.2g} times as large",
    )
    return [
        (_PREFERRED * abs(mean) / math.sqrt(variance / rows), location),
        (abs(around - variance) / math.sqrt(max(kurtosis, 1e-12) / rows), scale),
    ]


def _divergence(share: float, expected: float) -> float:
    terms = ((share, expected), (1 - share, 1 - expected))
    return sum(a * math.log(a / b) for a, b in terms if a > 0)


def percent(share: float) -> str:
    """Return a share in per cent, with as many digits as it needs."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"
