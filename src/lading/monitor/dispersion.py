"""How much more windows of traffic differ from each other than windows of independent rows would.

Rows of one hour resemble each other: an effect of the hour, of the day, of one large caller. What a test
takes for the evidence of n rows is then the evidence of fewer. This module learns how many fewer, from
differences between adjacent blocks of 1, 2, 4 … windows (the Haar wavelet variance of a score), so that a
change which stays counts once and the mean does not matter. It does not look for drift.

The arrays have leading axes for columns that are advanced together: ``[columns, levels, scores]``.
Source: D. Percival, "On estimation of the wavelet variance", Biometrika 82 (1995).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LONGEST_S = 128 * 3600.0
"""Blocks are at most this long: an effect that lasts longer than some five to ten days is drift."""

EFFECT = 0.1
"""The standard deviation of the effect of a window, in standard deviations of a row, believed at first."""

_GROWTH = 1.5  # believed from one block length to twice that, until pairs of blocks say otherwise
_WEIGHT = 6.0  # of each belief, in pairs of blocks
_MEMORY = 512  # pairs: older ones fade
_OUTLIER = 12.0  # no pair counts for more than so many times the estimate: a step is not dispersion


def levels_for(window_s: float) -> int:
    """Return how many block lengths are watched: 1, 2, 4 … windows of `window_s` seconds."""
    return max(1, int(np.log2(max(LONGEST_S / max(window_s, 1.0), 1.0)) + 1e-6) + 1)


@dataclass(slots=True)
class Dispersion:
    """What former windows taught: per score and block length, the mean square difference of adjacent blocks.

    1 is what independent rows have. ``sums`` and ``rows`` are of the blocks that wait for their neighbour,
    ``windows`` is how many windows came in.
    """

    mean: Floats  # [columns, levels, scores]
    sums: Floats  # [columns, levels, scores]
    rows: Floats  # [columns, levels]
    usual_rows: Floats  # [columns], of a window
    windows: int = 0

    @classmethod
    def start(cls, columns: int, levels: int, scores: int) -> Dispersion:
        """Return the dispersion before the first window."""
        shape = (columns, levels, scores)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(shape[:2]), np.zeros(columns))

    def factors(self, rows: Floats) -> Floats:
        """Return by what the evidence of a window with so many `rows` is divided: ``[columns, scores]``.

        At least 1. Uses former windows only, so that the next window cannot choose its own weight.
        """
        usual = np.maximum(self.usual_rows, 1.0) if self.windows else np.maximum(rows, 1.0)
        highest = np.ones_like(self.mean[:, 0])
        for estimate, pairs in self._estimates(usual):
            upper = estimate * (1 + np.sqrt(2 / (pairs + _WEIGHT)))
            highest = np.maximum(highest, upper)
        # An effect that all rows of a window share weighs more, the more rows there are.
        return 1 + (highest - 1) * np.maximum(1.0, rows / usual)[:, None]

    def _estimates(self, usual: Floats) -> Any:
        """Yield per block length the estimate, shrunk towards that of the shorter blocks, and its pairs."""
        belief = np.repeat((1 + usual * EFFECT**2)[:, None], self.mean.shape[-1], axis=1)
        for level in range(self.mean.shape[1]):
            pairs = min(self.windows >> (level + 1), _MEMORY)
            estimate = (pairs * self.mean[:, level] + _WEIGHT * belief) / (pairs + _WEIGHT)
            estimate = np.maximum(estimate, 1.0)
            yield estimate, pairs
            belief = _GROWTH * estimate

    def add(self, sums: Floats, rows: Floats, variance: Floats) -> None:
        """Take in a window: the `sums` of each score over its `rows`; `variance` is that of one row's score."""
        usual = np.maximum(self.usual_rows, 1.0) if self.windows else np.maximum(rows, 1.0)
        limits = [_OUTLIER * estimate for estimate, _ in self._estimates(usual)]
        left_windows = self.windows
        self.windows += 1
        self.usual_rows = self.usual_rows + (rows - self.usual_rows) / min(self.windows, _MEMORY)
        for level in range(self.mean.shape[1]):
            if not left_windows >> level & 1:
                self.sums[:, level], self.rows[:, level] = sums, rows
                return
            left_sums, left_rows = self.sums[:, level], self.rows[:, level]
            difference = left_sums / left_rows[:, None] - sums / rows[:, None]
            expected = variance * (1 / left_rows + 1 / rows)[:, None]
            square = np.minimum(difference**2 / expected, limits[level])
            pairs = min(self.windows >> (level + 1), _MEMORY)
            self.mean[:, level] += (square - self.mean[:, level]) / pairs
            sums, rows = left_sums + sums, left_rows + rows
