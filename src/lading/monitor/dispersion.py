"""How much more windows of traffic differ from each other than windows of independent rows would.

Rows of one hour resemble each other: an effect of the hour, of the day, of one large caller. What a test
takes for the evidence of n rows is then the evidence of fewer. This module learns how many fewer, from
differences between adjacent blocks of 1, 2, 4 … hours (the Haar wavelet variance of a score), so that a
change which stays counts once and the mean does not matter. It does not look for drift.

The arrays have leading axes for columns that are advanced together: ``[columns, levels, scores]``.
Source: D. Percival, "On estimation of the wavelet variance", Biometrika 82 (1995).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHORTEST_S = 3600.0
"""Shorter windows are put together before they are compared."""
LONGEST_S = 128 * 3600.0
"""Blocks are at most about this long: an effect that lasts longer than some five to ten days is drift."""

EFFECT = 0.2
"""The standard deviation of an hour's effect, in standard deviations of a row, that is believed at first."""

# What is believed of blocks twice as long, as a multiple: at first, when shorter blocks do not say otherwise,
# and at least, until enough blocks were seen. Chosen by simulation (docs/reference/monitoring.md): effects
# of hours and days, a season of a day, weekends.
_GROWTH = 2.25
_LEAST_GROWTH = 1.3
_ENOUGH = 2  # pairs
_WEIGHT = 6.0  # of a belief, in pairs of blocks
_MEMORY = 512  # pairs: older ones fade
_AHEAD = 2  # blocks of up to so many times the time that has passed
_OUTLIER = 4.0  # no pair counts for more than so many times the estimate: a step is not dispersion


def windows_per_block(window_s: float) -> int:
    """Return how many windows of `window_s` seconds make a block of the first level."""
    return max(1, round(SHORTEST_S / max(window_s, 1e-3)))


def levels_for(window_s: float) -> int:
    """Return how many lengths of blocks are watched, each twice the one before."""
    shortest = window_s * windows_per_block(window_s)
    return max(1, int(np.log2(max(LONGEST_S / shortest, 1.0)) + 1e-6) + 1)


def _lowest_share(pairs: int) -> float:
    """Return what the mean of so many squares of standard normal values exceeds in 99 of 100 cases."""
    # Wilson and Hilferty's approximation to the chi-squared distribution.
    part = 2 / (9 * pairs)
    return float(max(1 - part - 2.33 * part**0.5, 0.1) ** 3)


@dataclass(slots=True)
class Dispersion:
    """What former windows taught: per score and block length, the mean square difference of adjacent blocks.

    1 is what independent rows have. ``sums`` and ``rows`` are of blocks that wait for their neighbour,
    ``open_sums`` and ``open_rows`` of the block that windows are being added to.
    """

    mean: Floats  # [columns, levels, scores]
    sums: Floats  # [columns, levels, scores]
    rows: Floats  # [columns, levels]
    open_sums: Floats  # [columns, scores]
    open_rows: Floats  # [columns]
    usual_rows: Floats  # [columns], of a window
    per_block: int
    windows: int = 0
    # Made by `factors`, used once more by `add` of the same window.
    _known: list[tuple[Floats, int]] | None = None

    @classmethod
    def start(cls, columns: int, scores: int, window_s: float) -> Dispersion:
        """Return the dispersion before the first of windows of about `window_s` seconds."""
        levels = levels_for(window_s)
        return cls(
            mean=np.zeros((columns, levels, scores)),
            sums=np.zeros((columns, levels, scores)),
            rows=np.zeros((columns, levels)),
            open_sums=np.zeros((columns, scores)),
            open_rows=np.zeros(columns),
            usual_rows=np.zeros(columns),
            per_block=windows_per_block(window_s),
        )

    def factors(self, rows: Floats) -> Floats:
        """Return by what the evidence of a window with so many `rows` is divided: ``[columns, scores]``.

        At least 1. Uses former windows only, so that the next window cannot choose its own weight.
        """
        usual = self._usual(rows)
        highest = np.ones_like(self.mean[:, 0])
        blocks = self.windows / self.per_block
        self._known = list(self._estimates(usual))
        for level, (estimate, pairs) in enumerate(self._known):
            # What has lasted for an hour is no effect of days: longer blocks count as time goes on. Otherwise
            # what is wrong from the first request on would not be found for days.
            if level and 2**level > _AHEAD * (blocks + 1):
                break
            highest = np.maximum(highest, estimate * (1 + (2 / (pairs + _WEIGHT)) ** 0.5))
        # An effect that all rows of a window share weighs more, the more rows there are.
        return 1 + (highest - 1) * np.maximum(1.0, rows / usual)[:, None]

    def _usual(self, rows: Floats) -> Floats:
        return np.maximum(self.usual_rows if self.windows else rows, 1.0)

    def _estimates(self, usual: Floats) -> Iterator[tuple[Floats, int]]:
        """Yield per block length the estimate, shrunk towards that of the shorter blocks, and its pairs."""
        believed = (1 + usual * self.per_block * EFFECT**2)[:, None]
        growth: Floats | float = _GROWTH
        shorter: Floats | None = None
        blocks = self.windows // self.per_block
        for level in range(self.mean.shape[1]):
            pairs = min(blocks >> (level + 1), _MEMORY)
            if shorter is not None:
                believed = shorter * (growth if pairs >= _ENOUGH else _GROWTH)
            estimate = (pairs * self.mean[:, level] + _WEIGHT * believed) / (pairs + _WEIGHT)
            if pairs > _ENOUGH:
                # Beliefs may be far too high: a thousand times, with many rows. No higher than pairs allow.
                estimate = np.minimum(estimate, self.mean[:, level] / _lowest_share(pairs))
            estimate = np.maximum(estimate, 1.0)
            yield estimate, pairs
            if shorter is not None:
                growth = (pairs * estimate / shorter + _WEIGHT * growth) / (pairs + _WEIGHT)
                growth = np.clip(growth, _LEAST_GROWTH, _GROWTH)
            shorter = estimate

    def add(self, sums: Floats, rows: Floats, variance: Floats, shares: Floats) -> None:
        """Take in a window: `sums` of each score over its `rows`; `variance` is that of one row's score.

        `shares` are the expected shares of the cells whose share is a score, NaN for other scores.
        """
        usual = self._usual(rows)
        limits = [_OUTLIER * estimate for estimate, _ in self._known or self._estimates(usual)]
        self._known = None
        self.windows += 1
        self.usual_rows = self.usual_rows + (rows - self.usual_rows) / min(self.windows, _MEMORY)
        sums, rows = self.open_sums + sums, self.open_rows + rows
        if self.windows % self.per_block:
            self.open_sums, self.open_rows = sums, rows
            return
        self.open_sums, self.open_rows = np.zeros_like(sums), np.zeros_like(rows)
        blocks = self.windows // self.per_block
        for level in range(self.mean.shape[1]):
            if (blocks - 1) >> level & 1 == 0:
                self.sums[:, level], self.rows[:, level] = sums, rows
                return
            left_sums, left_rows = self.sums[:, level], self.rows[:, level]
            difference = left_sums / left_rows[:, None] - sums / rows[:, None]
            share = shares + (left_sums + sums) / (left_rows + rows)[:, None]
            # A cell that has become frequent varies more even if rows are independent.
            own = np.where(np.isnan(share), variance, np.maximum(variance, share * (1 - share)))
            expected = own * (1 / left_rows + 1 / rows)[:, None]
            square = np.minimum(difference**2 / expected, limits[level])
            pairs = min(blocks >> (level + 1), _MEMORY)
            self.mean[:, level] += (square - self.mean[:, level]) / pairs
            sums, rows = left_sums + sums, left_rows + rows
