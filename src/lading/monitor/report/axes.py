"""Axes of charts: where bins of unequal widths are drawn, and where ticks stand. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_LONGEST_END = 0.25
"""An outer bin is drawn no longer than this share of those between; else one outlier would flatten them."""

_SHORTEST = 0.02
_LOGARITHMIC_FROM = 100
_HOUR, _DAY = 3600, 86_400
_STEPS_S = (
    *(1, 5, 15, 60, 300, 900, 1800, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY, 365 * _DAY),
)


@dataclass(frozen=True, slots=True)
class BinAxis:
    """Where bins are on their axis: ``edges`` are one more than bins, as the axis counts them.

    ``is_log`` has the axis count powers of ten. ``low`` and ``high`` are extremes of the reference where the
    outer bin is longer than it is drawn, else None.
    """

    edges: tuple[float, ...]
    is_log: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def length(self) -> float:
        """Return how long the axis is, as it counts."""
        return self.edges[-1] - self.edges[0]

    def at(self, value: float) -> float:
        """Return where a value is, from 0 at the start of the axis to 1 at its end."""
        return (_counted(value, is_log=self.is_log) - self.edges[0]) / self.length

    def densities(self, shares: Sequence[float]) -> list[float]:
        """Return how high each bin is drawn for its area to be its share; 1 is a uniform distribution's."""
        widths = [upper - lower for lower, upper in zip(self.edges, self.edges[1:], strict=False)]
        return [share * self.length / width for share, width in zip(shares, widths, strict=True)]

    def ticks(self, most: int = 5) -> list[float]:
        """Return the values below which the axis has a tick, in the inner part where lengths are true."""
        first, last = self.edges[0], self.edges[-1]
        if self.low is not None:
            first = self.edges[1]
        if self.high is not None:
            last = self.edges[-2]
        if not self.is_log:
            return round_values(first, last, most)
        step = max(1, math.ceil((last - first) / most))
        powers = range(math.ceil(first), math.floor(last) + 1, step)
        return [10.0**power for power in powers]


def bin_axis(bounds: Sequence[float], minimum: float | None, maximum: float | None) -> BinAxis:
    """Return the axis of the bins between `bounds`, with an outer bin on either side up to the extremes."""
    low = bounds[0] if minimum is None else min(minimum, bounds[0])
    high = bounds[-1] if maximum is None else max(maximum, bounds[-1])
    # Prices and durations: on an axis of plain numbers, nine bins in ten would be one stroke at its start.
    is_log = low > 0 and bounds[-1] / bounds[0] > _LOGARITHMIC_FROM
    inner = [_counted(bound, is_log=is_log) for bound in bounds]
    between = inner[-1] - inner[0]
    ends = [inner[0] - _counted(low, is_log=is_log), _counted(high, is_log=is_log) - inner[-1]]
    # With a single bound there is nothing between, and the ends are all that can be drawn.
    longest = between * _LONGEST_END if between else math.inf
    # A bin that holds a single value, such as all zeros, has no width of its own.
    shortest = (between or max(ends) or abs(inner[0]) or 1.0) * _SHORTEST
    drawn = [min(max(end, shortest), longest) for end in ends]
    return BinAxis(
        (inner[0] - drawn[0], *inner, inner[-1] + drawn[1]),
        is_log,
        low if ends[0] > longest else None,
        high if ends[1] > longest else None,
    )


def _counted(value: float, *, is_log: bool) -> float:
    return math.log10(value) if is_log else value


def round_values(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round values from `low` to `high`, evenly spaced: 0, 20, 40."""
    if not high > low:
        return [low]
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= least)
    # 0.3 / 0.1 is below 3 in floats.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [multiple * step for multiple in range(first, last + 1)][:most]


def digits(values: Sequence[float]) -> int:
    """Return with how many digits evenly spaced values differ from each other when they are written down."""
    steps = [abs(after - before) for before, after in pairwise(values)]
    if not steps or not min(steps):
        return 4
    return min(max(math.ceil(math.log10(max(map(abs, values)) / min(steps)) - 1e-9) + 1, 4), 12)


def time_ticks(since: float, until: float, most: int) -> tuple[list[float], float]:
    """Return at most `most` round times from `since` to `until` (UTC), and the seconds between them."""
    length = until - since
    # Round times of UTC, as everything on the page is.
    step = next((step for step in _STEPS_S if length / step <= most), _STEPS_S[-1])
    first, last = math.ceil(since / step), math.floor(until / step)
    return [float(at * step) for at in range(first, last + 1)][:most], step
