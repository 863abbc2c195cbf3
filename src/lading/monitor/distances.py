"""Distances between live and reference counts of a column: plain numbers for people, without a test.

Both are computed over all cells, those of missing and unseen values included. They say how large a difference
is, not whether it is more than chance: few rows make them large, so `expected_psi` stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_HALF = 0.5  # rows, so that an empty cell has a logarithm


def expected_psi(reference: Sequence[int], rows: float) -> float:
    """Return the PSI that `rows` live rows, at least one, show on average without drift."""
    return (sum(count > 0 for count in reference) - 1) * (1 / rows + 1 / sum(reference))


def psi(reference: Sequence[float], counts: Sequence[float]) -> float:
    """Return the population stability index, each cell having half a row more than was counted.

    Live counts get theirs as the reference is distributed, so that a cell that neither has adds nothing.
    """
    expected = np.array(reference, np.float64) + _HALF
    expected /= expected.sum()
    live = np.array(counts, np.float64) + _HALF * len(counts) * expected
    live /= live.sum()
    return float(((live - expected) * np.log(live / expected)).sum())


def jensen_shannon(reference: Sequence[float], counts: Sequence[float]) -> float:
    """Return the Jensen–Shannon distance, 0 for equal shares, 1 where no cell has rows of both."""
    expected, live = np.array(reference, np.float64), np.array(counts, np.float64)
    expected, live = expected / expected.sum(), live / live.sum()
    between = (expected + live) / 2
    divergence = sum(
        float((shares[shares > 0] * np.log2(shares[shares > 0] / between[shares > 0])).sum())
        for shares in (expected, live)
    )
    return float(np.sqrt(max(divergence / 2, 0.0)))
