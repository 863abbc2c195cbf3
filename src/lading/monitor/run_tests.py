"""Whether the rows of one batch run are as the reference: one look at all of them, which may alarm alone.

The test over time (`drift`) never lets one window decide, as an hour of traffic says little. A run is a whole
data set that somebody has chosen to score, and the next one may be a month later. The same experts bet on
its columns, once, and beside them one on any shape. Each run has its own part of the level, stated before its
rows are seen, so that the chance of any false alarm stays below the level over all runs for ever.
Remembers nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from lading.monitor.discoveries import alarm_of
from lading.monitor.dispersion import EFFECT, Floats
from lading.monitor.drift import log_bets, log_rising
from lading.monitor.experts import ColumnReference, experts_of

_FIRST = 2  # cells after missing and unseen
_OF_EXPERTS = 0.5  # their share of the stake


class RunEvidence(msgspec.Struct, frozen=True):
    """What the rows of one run say against one column's reference: the logarithm of an e-value."""

    log_e: float


def evidence_of_run(
    reference: ColumnReference, counts: Sequence[int], draw: np.random.Generator
) -> RunEvidence:
    """Return the evidence of drift in the rows of a run, by cell; none without rows.

    Of more rows than the reference has, as many are drawn: more would only measure the reference's own error.
    """
    rows, known = sum(counts), sum(reference.counts)
    if not rows or not known:
        return RunEvidence(0.0)
    live = np.array([counts], np.float64)
    if rows > known:
        rows = known
        live = draw.multivariate_hypergeometric(counts, rows, method="marginals")[None].astype(np.float64)
    # All rows of a run share the effect of their day or their source, as large as that of an hour is believed
    # to be. A single run cannot teach how large it is, however many rows it has.
    factor = 1 + EFFECT**2 * rows * known / (rows + known)
    experts = experts_of(reference)
    masses = experts.masses[None]  # [1, cells]
    present = masses[:, _FIRST:].sum(axis=1)
    bets = np.concatenate(log_bets(experts, masses, present, live), axis=1)[0] / factor
    outer = np.column_stack([masses[:, :_FIRST], present])
    presence = np.column_stack([live[:, :_FIRST], live[:, _FIRST:].sum(axis=1)])
    shapes = (
        _log_any_shape(outer / factor, presence / factor),
        _log_any_shape(masses[:, _FIRST:] / factor, live[:, _FIRST:] / factor),
    )
    stakes = [*(_OF_EXPERTS * experts.stakes), *[(1 - _OF_EXPERTS) / 2] * 2]
    return RunEvidence(float(np.logaddexp.reduce(np.log(stakes) + np.array([*bets, *shapes]))))


def _log_any_shape(masses: Floats, counts: Floats) -> float:
    """Return what a bet on any other shares wins: half a row in each cell at first, then what the run shows.

    Experts over time come step by step to a column that is constant or always missing; a run is one step.
    """
    if not counts.sum():
        return 0.0
    half = np.full_like(masses, 0.5)
    ratio = log_rising(half, counts) - log_rising(masses, counts)
    rows, both = counts.sum(axis=1), (half.sum(axis=1), masses.sum(axis=1))
    return float(ratio.sum() - (log_rising(both[0], rows) - log_rising(both[1], rows))[0])


def alarming(evidence: Mapping[str, RunEvidence], run: int, alpha: float) -> dict[str, float]:
    """Return the columns that alarm by the `run`-th run of a series, counted from 1, the strongest first.

    `alpha` is the chance of any false alarm over all columns and all runs together. Pass all columns.
    """
    return alarm_of(evidence, alpha * (_unspent(run - 1) - _unspent(run)))


def _unspent(runs: int) -> float:
    """Return the part of the level that is kept for later runs: slowly less, as the stakes over time are."""
    return 1 / (1 + math.log1p(runs))
