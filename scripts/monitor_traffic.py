"""Traffic for `monitor_table.py`: a reference sample of its own for each column, and hours of live rows.

Five kinds of data without drift, each with or without a change. Tests nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, stdtr

from lading.monitor.dispersion import Floats
from lading.monitor.experts import ColumnReference, Experts, experts_of

REFERENCE_ROWS = 10_000
BINS = 10
_FREEDOM = 3  # degrees, of Student's distribution: heavy tails, a finite variance

CATEGORIES = np.array([0.0, 0.0005, 0.28, 0.2, 0.15, 0.12, 0.09, 0.07, 0.05, 0.0395])
# Missing 0.2 %; below 0.1 %, which profiles fold into the unseen, 0.05 % together; then 0.3 %, 1 %, 3 %.
RARE = np.array([0.002, 0.0005, 0.003, 0.01, 0.03, 0.9545])


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    ``effect`` is the standard deviation of an hour's effect on all of its rows, an autoregressive process
    that keeps ``memory`` of itself; ``season`` is the amplitude of day and night. ``weekly`` traffic is
    compared with the same hours of the four weeks before.
    """

    name: str
    shares: Floats | None = None  # of cells, missing and unseen first; None for numbers
    heavy: bool = False
    effect: float = 0.0
    memory: float = 0.0
    season: float = 0.0
    weekly: bool = False

    @property
    def deviation(self) -> float:
        """Return the standard deviation of a number over all hours."""
        return float(np.sqrt(1 + self.effect**2 + self.season**2 / 2))


_EFFECTS = {"effect": 0.3, "memory": 0.9, "season": 0.4}
KINDS = (
    Kind("normal"),
    Kind("heavy-tailed (Student, 3 degrees of freedom)", heavy=True),
    Kind("categorical (8 categories, from 28 % to 4 %)", CATEGORIES),
    Kind("rare (categories of 0.3 % to 3 %, 0.2 % missing, 0.05 % unseen)", RARE),
    Kind("autocorrelated by hour (effects of 0.3 sd, correlation 0.9, day and night of 0.4 sd)", **_EFFECTS),
)


@dataclass(frozen=True)
class Change:
    """What changes: numbers are higher by ``shift`` standard deviations, or cells have other shares."""

    name: str
    kind: Kind
    shift: float = 0.0
    shares: Floats | None = None


class Traffic:
    """Many columns of one kind with a reference each, and what follows hour by hour."""

    def __init__(self, kind: Kind, columns: int, rng: np.random.Generator) -> None:
        self.kind = kind
        self._rng = rng
        self._columns = columns
        self._phase = rng.random((columns, 1)) * 24
        self._effect = rng.normal(size=(columns, 1))
        self._hour = -1
        if kind.shares is None:
            self._sample = np.sort(self._draw_reference(), axis=1)
            ranks = np.unique(np.arange(1, BINS) * (REFERENCE_ROWS + 1) // BINS) - 1
            self.edges = self._sample[:, ranks]
            per_bin = np.diff(np.concatenate([[-1], ranks, [REFERENCE_ROWS - 1]]))
            self.reference = np.tile(np.concatenate([[0, 0], per_bin]), (columns, 1))
        else:
            self.reference = rng.multinomial(REFERENCE_ROWS, kind.shares, size=columns)

    @property
    def sample(self) -> Floats:
        """Return the rows of the references, sorted: ``[columns, rows]``."""
        return self._sample

    def forget_sample(self) -> None:
        """Free the rows of the references; their bins stay."""
        self._sample = np.zeros((self._columns, 0))

    def experts(self) -> tuple[Experts, Floats]:
        """Return the experts of all columns, and the masses with which each one's urn starts."""
        middle = np.round(self.reference.mean(axis=0)).astype(int)
        numeric = self.kind.shares is None
        experts = experts_of(ColumnReference(tuple(middle.tolist()), numeric))
        masses = np.array([ColumnReference(tuple(row), numeric).masses() for row in self.reference.tolist()])
        # The scores of one cell differ between references by a constant only, which no difference shows.
        shares = masses / masses.sum(axis=1, keepdims=True)
        variance = shares @ experts.scores**2 - (shares @ experts.scores) ** 2
        return replace(experts, variance=np.maximum(variance, 1e-12)), masses

    def next_hour(self) -> Floats:
        """Go on by an hour; return the mean of numbers in it, without a change: ``[columns, 1]``."""
        self._hour += 1
        kind = self.kind
        fresh = self._rng.normal(size=self._effect.shape)
        self._effect = kind.memory * self._effect + np.sqrt(1 - kind.memory**2) * fresh
        season = kind.season * np.sin(2 * np.pi * (self._hour + self._phase) / 24)
        return np.asarray(kind.effect * self._effect + season)

    def shares(self, mean: Floats, change: Change | None = None) -> Floats:
        """Return the shares of the cells in an hour: ``[columns, cells]``."""
        kind = self.kind
        if kind.shares is not None:
            shares = kind.shares if change is None else change.shares
            return np.broadcast_to(shares, (self._columns, len(kind.shares)))
        below = self._below(self.edges - self._mean(mean, change))
        return np.diff(below, axis=1, prepend=0, append=1)

    def counts(self, shares: Floats, rows: int) -> Floats:
        """Draw the counts of an hour, of about `rows` rows: ``[columns, cells]``."""
        counts = self._rng.poisson(rows * shares)
        if self.kind.shares is None:
            counts = np.concatenate([np.zeros((self._columns, 2), counts.dtype), counts], axis=1)
        return counts

    def rows(self, mean: Floats, rows: int, change: Change | None = None) -> Floats:
        """Draw the numbers of an hour, sorted: ``[columns, rows]``."""
        drawn = self._noise((self._columns, rows)) + self._mean(mean, change)
        return np.sort(drawn, axis=1)

    def _mean(self, mean: Floats, change: Change | None) -> Floats:
        scale = np.sqrt(_FREEDOM / (_FREEDOM - 2)) if self.kind.heavy else 1.0
        shift = 0.0 if change is None else change.shift * self.kind.deviation * scale
        return np.asarray(mean + shift)

    def _below(self, values: Floats) -> Floats:
        return np.asarray(stdtr(_FREEDOM, values) if self.kind.heavy else ndtr(values))

    def _noise(self, shape: tuple[int, int]) -> Floats:
        return self._rng.standard_t(_FREEDOM, shape) if self.kind.heavy else self._rng.normal(size=shape)

    def _draw_reference(self) -> Floats:
        """Draw rows from all hours, independent of each other."""
        kind, shape = self.kind, (self._columns, REFERENCE_ROWS)
        rows = self._noise(shape)
        if kind.effect or kind.season:
            rows += kind.effect * self._rng.normal(size=shape)
            rows += kind.season * np.sin(2 * np.pi * self._rng.random(shape))
        return rows
