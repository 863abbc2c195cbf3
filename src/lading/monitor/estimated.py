"""Accuracy estimated without labels, from how confident the model is: confidence-based estimation (CBPE).

The reference says how often rows of each bin of the largest probability were right; live rows only say into
which bins they fall. The estimate holds as long as a confidence means what it meant: if inputs shift
(covariate shift), not if the relation of inputs to labels changes; then labels alone show it.

Source: NannyML's documentation of CBPE; B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate
multiclass probability estimates", KDD 2002, for the isotonic calibration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np

from lading.errors import UsageError
from lading.monitor.dispersion import Floats
from lading.profile import Calibration

_FIRST = 2
_Block = tuple[float, float, int]  # rows, right answers, bins


class Estimate(msgspec.Struct, frozen=True):
    """An estimated accuracy with its interval, for so many live rows.

    The interval covers what chance does to the calibration and to the rows; not a changed relation of
    inputs to labels.
    """

    accuracy: float
    low: float
    high: float
    rows: int


def estimate_accuracy(
    calibration: Calibration, counts: Sequence[int], level: float = 0.95
) -> Estimate | None:
    """Return the estimated accuracy of live rows, `counts` by cell of the confidence; None without any.

    Cells are those of the calibration. Raises `UsageError` if they differ in number.
    """
    if len(counts) != len(calibration.rows):
        raise UsageError(
            f"estimated accuracy: expected counts of {len(calibration.rows)} cells, found {len(counts)}"
        )
    live = np.array(counts, np.float64)
    rows, reference_rows = live.sum(), np.array(calibration.rows, np.float64)
    if not rows or not reference_rows.sum():
        return None
    rates, group = _rates(reference_rows, np.array(calibration.right, np.float64))
    weights = live / rows
    accuracy = float(weights @ rates)
    # A rate that was measured on few rows is uncertain for all live rows of its group alike.
    of_rates = sum(
        weights[group == index].sum() ** 2
        * _variance(rates[group == index][0], reference_rows[group == index])
        for index in np.unique(group)
    )
    of_rows = float(weights @ (rates * (1 - rates))) / rows
    margin = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(float(of_rates) + of_rows)
    return Estimate(accuracy, max(0.0, accuracy - margin), min(1.0, accuracy + margin), int(rows))


def _variance(rate: float, rows: Floats) -> float:
    total = rows.sum()
    # Half a row is added to both outcomes: all rows of a group being right is no certainty.
    smoothed = (rate * total + 0.5) / (total + 1)
    return float(smoothed * (1 - smoothed) / max(total, 1.0))


def _rates(rows: Floats, right: Floats) -> tuple[Floats, np.ndarray]:
    """Return for each cell the calibrated rate of right answers, and which cells share one: ``[cells]``."""
    overall = right.sum() / rows.sum()
    rates, group = np.full(len(rows), overall), np.zeros(len(rows), np.intp)
    # Of a missing or unseen confidence nothing is known but the whole.
    for cell in range(_FIRST):
        if rows[cell]:
            rates[cell] = right[cell] / rows[cell]
        group[cell] = -1 - cell
    rates[_FIRST:], group[_FIRST:] = isotonic(rows[_FIRST:], right[_FIRST:], overall)
    return rates, group


def isotonic(rows: Floats, right: Floats, overall: float) -> tuple[Floats, np.ndarray]:
    """Return rates that never fall from one bin to the next, by pooling adjacent violators, and their groups.

    Bins without rows join the group before them; `overall` is the rate where no bin has any.
    """
    blocks: list[_Block] = []
    for count, hits in zip(rows.tolist(), right.tolist(), strict=True):
        block: _Block = (count, hits, 1)
        while blocks and _falls(blocks[-1], block):
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    rates = [(hits / count if count else overall, bins) for count, hits, bins in blocks]
    sizes = [bins for _, bins in rates]
    return np.repeat([rate for rate, _ in rates], sizes), np.repeat(np.arange(len(sizes)), sizes)


def _falls(before: _Block, after: _Block) -> bool:
    """Return whether the rate does not rise from one block to the next, or either has no rows."""
    return not before[0] or not after[0] or before[1] * after[0] >= after[1] * before[0]
