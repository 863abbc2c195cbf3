"""What a column could change to: the alternatives that the drift test bets on, one expert each.

An expert tilts the expected shares of cells by ``exp(score · strength)``: to higher or lower values, to a
wider or narrower spread, to more missing or unseen values, to more or less of a category. Cells are those
of a profile: missing, unseen, then bins in order or categories. Decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import msgspec
import numpy as np

from lading.monitor.dispersion import Floats
from lading.profile import MISSING, UNSEEN, ColumnProfile

LOCATION, SCALE = "location", "scale"
MOST_CATEGORIES = 20
"""So many of the largest categories have experts of their own; changes of others are seen in common."""

_FIRST = 2
_LOCATIONS = (0.06, 0.12, 0.25, 0.5, 1.0, 2.0)  # standard deviations
_SCALES = (0.12, 0.25, 0.5)
_SHARES = (math.log(1.4), math.log(2), math.log(4), math.log(16))
_RISES = tuple(math.log(ratio) for ratio in (1.1, 1.25, 1.5, 2, 3, 6))
_UNSEEN = (0.003, 0.02, 0.1, 0.5)  # shares of unseen values


class ColumnReference(msgspec.Struct, frozen=True):
    """The reference counts of one column's cells: missing, unseen, then bins (`ordered`) or categories."""

    counts: tuple[int, ...]
    ordered: bool

    @classmethod
    def of(cls, column: ColumnProfile) -> ColumnReference:
        """Return what the test needs of a column's profile."""
        return cls(tuple(column.counts), column.is_binned)

    def masses(self) -> Floats:
        """Return the parameters of the Dirichlet distribution of the cells' true shares: ``[cells]``.

        Bins end at values of the reference, so each has one gap between neighbours per row in it, and the
        last, open one has one more; with a continuous column that is exact. Shares of the other cells have
        Jeffreys' prior.
        """
        masses = np.array(self.counts, np.float64)
        if not self.ordered:
            return np.asarray(masses + 0.5)
        masses[:_FIRST] += 0.5
        masses[-1] += 1
        return np.asarray(np.maximum(masses, 0.5))


@dataclass(frozen=True, slots=True)
class Experts:
    """The experts of one column; arrays that nobody changes."""

    masses: Floats  # [cells], with which the urn starts
    names: tuple[str, ...]  # of scores: location, scale, cell 0 …
    scores: Floats  # [cells, scores], mean 0 over the reference
    variance: Floats  # [scores], of one row's score
    shares: Floats  # [scores], of the cell whose share the score is, NaN for location and scale
    tilts: Floats  # [cells, experts], logarithms
    raised: Floats  # [cells, experts], their exponentials
    score_of: np.ndarray  # [experts], which score an expert is about
    share: Floats  # [experts + 1], of the stake; the last is the learner's

    def faint_masses(self) -> Floats:
        """Return masses as those of the reference, worth half a row for each cell: ``[cells]``."""
        return np.asarray(0.5 * len(self.masses) * self.masses / self.masses.sum())

    def share_factors(self, factors: Floats) -> Floats:
        """Return the `factors` of all scores, ``[columns, scores]``, that of scale at least location's."""
        # An hour whose values are all higher looks wider, too, and rarely so much as to be learnt in time.
        if self.names[:2] == (LOCATION, SCALE):
            factors = factors.copy()
            factors[:, 1] = np.maximum(factors[:, 0], factors[:, 1])
        return factors


def normal_scores(counts: Floats) -> Floats:
    """Return for each bin the mean of a standard normal variable between the same quantiles: ``[bins]``."""
    total = counts.sum()
    if total <= 0 or len(counts) < 2:
        return np.zeros(len(counts))
    normal = NormalDist()
    edges = np.concatenate([[0.0], np.cumsum(counts) / total])
    heights = [normal.pdf(normal.inv_cdf(edge)) if 1e-12 < edge < 1 - 1e-12 else 0.0 for edge in edges]
    widths = np.maximum(np.diff(edges), 1e-12)
    return np.where(counts > 0, -np.diff(heights) / widths, 0.0)


@lru_cache(maxsize=4096)
def experts_of(reference: ColumnReference) -> Experts:
    """Return the experts for a column; the same object for the same reference."""
    masses = reference.masses()
    bets = _Bets(masses)
    if reference.ordered and len(masses) > _FIRST + 1:
        location, spread = np.zeros(len(masses)), np.zeros(len(masses))
        location[_FIRST:] = normal_scores(masses[_FIRST:])
        inner = masses[_FIRST:] / masses[_FIRST:].sum()
        spread[_FIRST:] = location[_FIRST:] ** 2 - inner @ location[_FIRST:] ** 2
        bets.add(LOCATION, location, _both_signs(_LOCATIONS), 0.4)
        bets.add(SCALE, spread, _both_signs(_SCALES), 0.15)
    bets.add_cell(MISSING, _both_signs(_SHARES), 0.15)
    odds = masses[UNSEEN] / (masses.sum() - masses[UNSEEN])
    rises = [math.log(share / (1 - share) / odds) for share in _UNSEEN if share / (1 - share) > 1.4 * odds]
    bets.add_cell(UNSEEN, rises or [math.log(2)], 0.15)
    if not reference.ordered:
        largest = np.argsort(-masses[_FIRST:], kind="stable")[:MOST_CATEGORIES] + _FIRST
        for cell in sorted(largest.tolist()):
            bets.add_cell(cell, _both_signs(_SHARES), 0.55 / len(largest))
    return bets.experts(learner=0.15)


@lru_cache(maxsize=4096)
def experts_of_errors(wrong: int, right: int) -> Experts:
    """Return the experts for answers that are wrong and right, two cells: they bet on more wrong ones."""
    bets = _Bets(np.array([wrong + 0.5, right + 0.5]))
    bets.add_cell(0, _RISES, 1.0)
    return bets.experts(learner=0.0)


def _both_signs(sizes: Sequence[float]) -> list[float]:
    return [sign * size for size in sizes for sign in (1, -1)]


class _Bets:
    """Collects scores and the strengths with which experts bet on them."""

    def __init__(self, masses: Floats) -> None:
        self.masses = masses
        self.names: list[str] = []
        self.scores: list[Floats] = []
        self.tilts: list[Floats] = []
        self.score_of: list[int] = []
        self.stakes: list[float] = []
        self.cells: list[int | None] = []

    def add(
        self, name: str, score: Floats, strengths: Sequence[float], share: float, cell: int | None = None
    ) -> None:
        """Add a score and its experts, who have `share` of the stake together."""
        self.tilts.extend(strength * score for strength in strengths)
        self.score_of.extend(len(self.names) for _ in strengths)
        self.stakes.extend(share / len(strengths) for _ in strengths)
        self.names.append(name)
        self.scores.append(score)
        self.cells.append(cell)

    def add_cell(self, cell: int, strengths: Sequence[float], share: float) -> None:
        """Add the share of one cell; strengths are logarithms of the ratio of its odds."""
        self.add(f"cell {cell}", np.eye(len(self.masses))[cell], strengths, share, cell)

    def experts(self, learner: float) -> Experts:
        """Return the experts and the `learner`, who has that share beside theirs."""
        shares = self.masses / self.masses.sum()
        scores = np.stack(self.scores, axis=1)
        scores = scores - shares @ scores
        tilts = np.stack(self.tilts, axis=1)
        stake = np.array([*self.stakes, learner])
        variance = np.maximum(shares @ scores**2, 1e-12)
        score_of = np.array(self.score_of)
        return Experts(
            self.masses,
            tuple(self.names),
            scores,
            variance,
            np.array([np.nan if cell is None else shares[cell] for cell in self.cells]),
            tilts,
            np.exp(tilts),
            score_of,
            stake / stake.sum(),
        )
