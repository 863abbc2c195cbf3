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
"""So many of the largest categories have experts of their own; changes of others alone are not seen."""

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
class Part:
    """Bets on one question about a row, over the cells that answer it; arrays that nobody changes."""

    tilts: Floats  # [cells, experts], logarithms
    raised: Floats  # [cells, experts], their exponentials


@dataclass(frozen=True, slots=True)
class Experts:
    """The experts of one column, in two parts that know nothing of each other.

    ``presence`` is whether a value is missing, unseen or present, and ``values`` which of the cells a present
    one falls into. A Dirichlet distribution over all cells is two independent ones over these. Scores are
    those of missing and unseen values first.
    """

    masses: Floats  # [cells], with which the urn starts
    names: tuple[str, ...]  # of scores: cell 0, cell 1, location, scale …
    scores: Floats  # [cells, scores], mean 0 over the reference
    variance: Floats  # [scores], of one row's score
    shares: Floats  # [scores], of the cell whose share the score is, NaN for location and scale
    presence: Part  # over missing, unseen, present
    values: Part  # over the cells that follow
    stakes: Floats  # [experts], shares of the whole: those of presence, then of values

    def faint_masses(self) -> Floats:
        """Return masses as those of the reference, worth half a row for each cell: ``[cells]``."""
        return np.asarray(0.5 * len(self.masses) * self.masses / self.masses.sum())


def normal_scores(counts: Floats) -> Floats:
    """Return for each bin the mean of a standard normal variable between the same quantiles: ``[bins]``."""
    total = counts.sum()
    if total <= 0 or len(counts) < 2:
        return np.zeros(len(counts))
    normal = NormalDist()
    edges = np.concatenate([[0.0], np.cumsum(counts) / total])
    # The mean of a normal variable between two quantiles is the difference of its densities there.
    heights = [normal.pdf(normal.inv_cdf(edge)) if 1e-12 < edge < 1 - 1e-12 else 0.0 for edge in edges]
    widths = np.maximum(np.diff(edges), 1e-12)
    return np.where(counts > 0, -np.diff(heights) / widths, 0.0)


@lru_cache(maxsize=4096)
def experts_of(reference: ColumnReference) -> Experts:
    """Return the experts for a column; the same object for the same reference."""
    masses = reference.masses()
    bets = _Bets(masses)
    bets.add_cell(MISSING, _both_signs(_SHARES), 0.15)
    odds = masses[UNSEEN] / (masses.sum() - masses[UNSEEN])
    rises = [math.log(share / (1 - share) / odds) for share in _UNSEEN if share / (1 - share) > 1.4 * odds]
    bets.add_cell(UNSEEN, rises or [math.log(2)], 0.15)
    if not reference.ordered:
        largest = np.argsort(-masses[_FIRST:], kind="stable")[:MOST_CATEGORIES] + _FIRST
        for cell in sorted(largest.tolist()):
            bets.add_cell(cell, _both_signs(_SHARES), 0.55 / len(largest))
    elif len(masses) > _FIRST + 1:
        location, spread = np.zeros(len(masses)), np.zeros(len(masses))
        location[_FIRST:] = normal_scores(masses[_FIRST:])
        inner = masses[_FIRST:] / masses[_FIRST:].sum()
        spread[_FIRST:] = location[_FIRST:] ** 2 - inner @ location[_FIRST:] ** 2
        bets.add(LOCATION, location, _both_signs(_LOCATIONS), 0.4)
        bets.add(SCALE, spread, _both_signs(_SCALES), 0.15)
    return bets.experts()


@lru_cache(maxsize=4096)
def experts_of_errors(wrong: int, right: int) -> Experts:
    """Return the experts for answers that are wrong and right, the cells after missing and unseen ones.

    They bet on more wrong answers, and on nothing else.
    """
    bets = _Bets(np.array([0.5, 0.5, wrong + 0.5, right + 0.5]))
    bets.add_cell(MISSING, (), 0.0)
    bets.add_cell(UNSEEN, (), 0.0)
    bets.add_cell(_FIRST, _RISES, 1.0)
    return bets.experts()


def _both_signs(sizes: Sequence[float]) -> list[float]:
    return [sign * size for size in sizes for sign in (1, -1)]


class _Bets:
    """Collects scores and the strengths with which experts bet on them."""

    def __init__(self, masses: Floats) -> None:
        self._masses = masses
        self._names: list[str] = []
        self._scores: list[Floats] = []
        self._cells: list[int | None] = []
        self._presence: list[Floats] = []
        self._values: list[Floats] = []
        self._stakes: tuple[list[float], list[float]] = ([], [])

    def add(
        self, name: str, score: Floats, strengths: Sequence[float], stake: float, cell: int | None = None
    ) -> None:
        """Add a score and its experts, who have the share `stake` together."""
        tilts = [strength * score for strength in strengths]
        if cell in (MISSING, UNSEEN):
            self._presence.extend(tilt[: _FIRST + 1] for tilt in tilts)
        else:
            self._values.extend(tilt[_FIRST:] for tilt in tilts)
        self._stakes[cell not in (MISSING, UNSEEN)].extend(stake / len(strengths) for _ in strengths)
        self._names.append(name)
        self._scores.append(score)
        self._cells.append(cell)

    def add_cell(self, cell: int, strengths: Sequence[float], stake: float) -> None:
        """Add the share of one cell; strengths are logarithms of the ratio of its odds."""
        self.add(f"cell {cell}", np.eye(len(self._masses))[cell], strengths, stake, cell)

    def experts(self) -> Experts:
        """Return the experts, whose shares of the stake add up to 1."""
        shares = self._masses / self._masses.sum()
        scores = np.stack(self._scores, axis=1)
        scores = scores - shares @ scores
        stakes = np.array([*self._stakes[0], *self._stakes[1]])
        return Experts(
            masses=self._masses,
            names=tuple(self._names),
            scores=scores,
            variance=np.maximum(shares @ scores**2, 1e-12),
            shares=np.array([np.nan if cell is None else shares[cell] for cell in self._cells]),
            presence=_part(self._presence, _FIRST + 1),
            values=_part(self._values, len(self._masses) - _FIRST),
            stakes=stakes / stakes.sum(),
        )


def _part(tilts: Sequence[Floats], cells: int) -> Part:
    matrix = np.stack(tilts, axis=1) if tilts else np.zeros((cells, 0))
    return Part(matrix, np.exp(matrix))
