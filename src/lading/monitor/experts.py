"""What a column could change to: the alternatives that the drift test bets on, one expert each.

An expert tilts the expected shares of cells by ``exp(score · strength)``: to higher or lower values, to a
wider or narrower spread, to more missing or unseen values, to more or less of a category. Cells are those
of a profile: missing, unseen, then bins in order or categories. Decides nothing.
"""

from __future__ import annotations

import math
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

    names: tuple[str, ...]  # of scores: location, scale, cell 0 …
    scores: Floats  # [cells, scores], mean 0 over the reference
    variance: Floats  # [scores], of one row's score
    tilts: Floats  # [cells, experts], logarithms
    raised: Floats  # [cells, experts], their exponentials
    score_of: np.ndarray  # [experts], which score an expert is about
    share: Floats  # [experts + 1], of the stake; the last is the learner's

    def share_factors(self, factors: Floats) -> Floats:
        """Return the dispersion `factors` of all scores, ``[columns, scores]``, with that of scale at least location's."""
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
    cells = len(masses)
    names: list[str] = []
    scores: list[Floats] = []
    bets: list[tuple[int, Floats, float]] = []  # score, tilt, share

    def add(name: str, score: Floats, tilts: list[Floats], share: float) -> None:
        bets.extend((len(names), tilt, share / len(tilts)) for tilt in tilts)
        names.append(name)
        scores.append(score)

    if reference.ordered and cells > _FIRST + 1:
        location = np.zeros(cells)
        location[_FIRST:] = normal_scores(masses[_FIRST:])
        add(LOCATION, location, [sign * size * location for size in _LOCATIONS for sign in (1, -1)], 0.4)
        spread = np.zeros(cells)
        inner = masses[_FIRST:] / masses[_FIRST:].sum()
        spread[_FIRST:] = location[_FIRST:] ** 2 - inner @ location[_FIRST:] ** 2
        add(SCALE, spread, [sign * size * spread for size in _SCALES for sign in (1, -1)], 0.15)
    for cell, share in _watched_cells(reference, masses):
        score = np.zeros(cells)
        score[cell] = 1.0
        if cell == UNSEEN:
            odds = masses[UNSEEN] / masses.sum()
            sizes = [math.log(part / (1 - part) * (1 - odds) / odds) for part in _UNSEEN if part > 1.4 * odds]
            sizes = sizes or [math.log(2)]
        else:
            sizes = [sign * size for size in _SHARES for sign in (1, -1)]
        add(f"cell {cell}", score, [size * score for size in sizes], share)
    matrix = np.stack(scores, axis=1)
    shares = masses / masses.sum()
    matrix = matrix - shares @ matrix
    tilts = np.stack([tilt for _, tilt, _ in bets], axis=1)
    stake = np.array([share for *_, share in bets] + [0.15])
    return Experts(
        tuple(names),
        matrix,
        np.maximum(shares @ matrix**2, 1e-12),
        tilts,
        np.exp(tilts),
        np.array([score for score, *_ in bets]),
        stake / stake.sum(),
    )


def _watched_cells(reference: ColumnReference, masses: Floats) -> list[tuple[int, float]]:
    """Return the cells that have experts of their own, and what share of the stake each has."""
    watched = [(MISSING, 0.15), (UNSEEN, 0.15)]
    if not reference.ordered:
        largest = np.argsort(-masses[_FIRST:], kind="stable")[:MOST_CATEGORIES] + _FIRST
        watched += [(int(cell), 0.55 / len(largest)) for cell in sorted(largest)]
    return watched
