"""A drift test for one column that may be looked at after every window, for ever: an e-process.

How to call it, per column and in the order of time:

    reference = ColumnReference.of(column)                    # of a `ColumnProfile`
    state = DriftState.start(reference, window_s=3600.0)
    state = advance(state, reference, counts, at=window.at, seconds=window.seconds)
    state.log_e                                               # grows with the evidence of drift
    discoveries.alarm_of({"x": state, ...}, alpha=0.01)       # columns that alarm
    wording.describe(column, counts_since_began_at)           # the change in words

Counts are per cell as in the profile (missing, unseen, bins or categories), those of all replicas added up.
A state is plain data: stored as JSON after every window and resumed, it goes on as if it had not been.
It does not know columns by name, nor read windows: late or repeated ones are the caller's.

The null hypothesis: reference and live rows are drawn alike. The masses of the cells are then known up to a
Dirichlet distribution, and the counts of a window have a Dirichlet-multinomial one (a Polya urn that starts
with the reference), so that the sampling error of the reference is no drift. Experts bet against it, each on
one kind of change, with stakes that are paid out over time: a change after a year finds a stake that has not
been lost. The evidence of a window is divided by the dispersion that former windows taught (`dispersion`).
docs/concepts/monitoring.md says what of this is exact and what is calibrated by simulation.

Sources: V. Vovk et al., "Retrain or not retrain: conformal test martingales for change-point detection",
COPA 2021; S. Shin, A. Ramdas, A. Rinaldo, "E-detectors", NEJSDS 2024; A. Ramdas et al., "Game-theoretic
statistics and safe anytime-valid inference", Stat. Sci. 38 (2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from lading.errors import UsageError
from lading.monitor.dispersion import Dispersion, Floats
from lading.monitor.experts import ColumnReference, Experts, Part, experts_of

__all__ = ["ColumnReference", "DriftState", "Process", "advance", "restart"]

HORIZON_S = 86_400.0
"""How the stake is paid out: half of it within ~1.7 such periods, the rest ever more slowly."""

MOST_PER_WINDOW = 8.0
"""No window multiplies an expert's capital by more than exp of this: a single one raises no alarm."""

_FIRST = 2  # cells after missing and unseen
_MOST = 1e250  # capital stays below what floats hold


class DriftState(msgspec.Struct, frozen=True):
    """The drift test of one column after some windows; numbers only, to be stored as JSON.

    ``log_e`` is the logarithm of the e-value, ``peak_log_e`` its highest so far. ``began_at`` is the Unix
    time of the window with which the present evidence began, None while there is none. ``last_at`` is the
    time of the last window, None before the first.
    """

    log_e: float
    peak_log_e: float
    began_at: float | None
    last_at: float | None
    elapsed_s: float
    windows: int
    usual_rows: float
    urn: list[float]  # by cell
    present: float
    capital: list[float]  # by expert
    gain: list[float]  # by expert, logarithms since its evidence began
    since: list[float]  # by expert, Unix times
    mean: list[list[float]]  # by level and score
    sums: list[list[float]]  # by level and score
    rows: list[float]  # by level
    open_sums: list[float]  # by score
    open_rows: float
    windows_per_block: int

    @classmethod
    def start(cls, reference: ColumnReference, window_s: float = 3600.0) -> DriftState:
        """Return the state before the first window; windows of about `window_s` seconds will follow."""
        return Process.start(experts_of(reference), 1, window_s).state()


@dataclass(slots=True)
class Process:
    """The tests of several columns with the same kind of cells, as arrays: ``[columns, …]``.

    `advance` runs it for one column; simulations run thousands together. Fields as in `DriftState`.
    """

    urn: Floats  # [columns, cells]
    present: Floats  # [columns], beside the missing and unseen cells of the urn
    capital: Floats  # [columns, experts]
    gain: Floats  # [columns, experts]
    since: Floats  # [columns, experts]
    dispersion: Dispersion
    elapsed_s: float = 0.0
    last_at: float | None = None
    peak_log_e: float = 0.0

    @classmethod
    def start(cls, experts: Experts, columns: int, window_s: float) -> Process:
        """Return the tests of `columns` columns that have the same experts, before the first window."""
        bets = len(experts.stakes)
        return cls(
            urn=np.tile(experts.masses, (columns, 1)),
            present=np.full(columns, experts.masses[_FIRST:].sum()),
            capital=np.zeros((columns, bets)),
            gain=np.zeros((columns, bets)),
            since=np.zeros((columns, bets)),
            dispersion=Dispersion.start(columns, experts.scores.shape[1], window_s),
        )

    def log_e(self) -> Floats:
        """Return the logarithm of each column's e-value: ``[columns]``."""
        return np.asarray(np.log(_unpaid(self.elapsed_s) + self.capital.sum(axis=1)))

    def step(
        self,
        experts: Experts,
        counts: Floats,
        at: float,
        seconds: float,
        same_hours: Floats | None = None,
    ) -> None:
        """Take in one window of every column: `counts` are ``[columns, cells]``, each with rows.

        `same_hours` are counts of the same hours of former weeks, with which the window is compared instead.
        """
        rows = counts.sum(axis=1)
        factors = self.dispersion.factors(rows)
        # One factor for a part: the urn must learn as fast as the experts bet, or the reference's own error
        # would pay them.
        by_part = factors[:, :_FIRST].max(axis=1), factors[:, _FIRST:].max(axis=1, initial=1.0)
        gains = np.minimum(self._log_bets(experts, counts, same_hours, by_part), MOST_PER_WINDOW)
        # Paid before the window is seen, by the time that has passed alone: the stake cannot follow outcomes.
        paid = _unpaid(self.elapsed_s)
        self.elapsed_s += seconds
        paid -= _unpaid(self.elapsed_s)
        self.capital = np.minimum((self.capital + paid * experts.stakes) * np.exp(gains), _MOST)
        # As in CUSUM: evidence begins where it was last nothing, which estimates when the change began.
        starts = self.gain <= 0
        self.since = np.where(starts, at, self.since)
        self.gain = np.where(starts, 0.0, self.gain) + gains
        self._learn(counts, by_part)
        self._teach(experts, counts, same_hours)
        self.last_at = at
        self.peak_log_e = max(self.peak_log_e, float(self.log_e().max()))

    def _log_bets(
        self, experts: Experts, counts: Floats, same_hours: Floats | None, by_part: tuple[Floats, Floats]
    ) -> Floats:
        """Return the logarithms of what each expert wins or loses by a window: ``[columns, experts]``."""
        urn = self.urn if same_hours is None else same_hours + experts.faint_masses()
        present = self.present if same_hours is None else urn[:, _FIRST:].sum(axis=1)
        presence, values = log_bets(experts, urn, present, counts)
        return np.concatenate([presence / by_part[0][:, None], values / by_part[1][:, None]], axis=1)

    def _learn(self, counts: Floats, by_part: tuple[Floats, Floats]) -> None:
        """Add the window to the urn, each part by its weight."""
        presence, values = by_part
        weighted = counts / np.where(np.arange(counts.shape[1]) < _FIRST, presence[:, None], values[:, None])
        self.urn = self.urn + weighted
        self.present = self.present + counts[:, _FIRST:].sum(axis=1) / presence

    def _teach(self, experts: Experts, counts: Floats, same_hours: Floats | None) -> None:
        """Let the dispersion learn from the window, too."""
        rows = counts.sum(axis=1)
        sums, variance = counts @ experts.scores, experts.variance
        if same_hours is not None:
            # What the hour is expected to be is no difference between hours.
            urn = same_hours + experts.faint_masses()
            shares = urn / urn.sum(axis=1)[:, None]
            expected = shares @ experts.scores
            sums = sums - rows[:, None] * expected
            variance = np.maximum(shares @ experts.scores**2 - expected**2, variance)
        self.dispersion.add(sums, rows, variance, experts.shares)

    def began_at(self) -> list[float | None]:
        """Return when the strongest expert's evidence began, per column, None if no expert has any."""
        best = self.gain.argmax(axis=1)
        columns = np.arange(len(best))
        pairs = zip(self.gain[columns, best].tolist(), self.since[columns, best].tolist(), strict=True)
        return [since if gain > 0 else None for gain, since in pairs]

    def state(self) -> DriftState:
        """Return the state of the only column."""
        taught = self.dispersion
        return DriftState(
            log_e=float(self.log_e()[0]),
            peak_log_e=self.peak_log_e,
            began_at=self.began_at()[0],
            last_at=self.last_at,
            elapsed_s=self.elapsed_s,
            windows=taught.windows,
            usual_rows=float(taught.usual_rows[0]),
            urn=self.urn[0].tolist(),
            present=float(self.present[0]),
            capital=self.capital[0].tolist(),
            gain=self.gain[0].tolist(),
            since=self.since[0].tolist(),
            mean=taught.mean[0].tolist(),
            sums=taught.sums[0].tolist(),
            rows=taught.rows[0].tolist(),
            open_sums=taught.open_sums[0].tolist(),
            open_rows=float(taught.open_rows[0]),
            windows_per_block=taught.per_block,
        )

    @classmethod
    def resume(cls, state: DriftState) -> Process:
        """Return the test of one column as it was when its state was taken."""

        def array(values: Sequence[object]) -> Floats:
            return np.array([values], np.float64)

        taught = Dispersion(
            mean=array(state.mean),
            sums=array(state.sums),
            rows=array(state.rows),
            open_sums=array(state.open_sums),
            open_rows=np.array([state.open_rows]),
            usual_rows=np.array([state.usual_rows]),
            per_block=state.windows_per_block,
            windows=state.windows,
        )
        return cls(
            urn=array(state.urn),
            present=np.array([state.present]),
            capital=array(state.capital),
            gain=array(state.gain),
            since=array(state.since),
            dispersion=taught,
            elapsed_s=state.elapsed_s,
            last_at=state.last_at,
            peak_log_e=state.peak_log_e,
        )


def restart(state: DriftState, reference: ColumnReference) -> DriftState:
    """Return a state that starts again, with a stake of its own, but remembers the dispersion.

    It is for after an alarm that is over. Each start has its own chance of a false alarm.
    """
    process, fresh = Process.resume(state), Process.start(experts_of(reference), 1, 1.0)
    fresh.dispersion, fresh.last_at = process.dispersion, process.last_at
    return fresh.state()


def advance(
    state: DriftState,
    reference: ColumnReference,
    counts: Sequence[float],
    at: float,
    seconds: float,
    same_hours: Sequence[float] | None = None,
) -> DriftState:
    """Return the state after one more window: rows per cell, the Unix time it began at, and its length.

    A window without rows changes nothing. `same_hours` are the rows per cell of the same hours of former
    weeks; the window is then compared with them and not with the reference, and changes nothing if they
    have fewer rows than itself. A state gets them always or never. Raises `UsageError` if counts, state and
    reference differ in cells.
    """
    cells = len(reference.counts)
    if not len(counts) == len(state.urn) == cells:
        raise UsageError(
            f"drift: expected counts of {cells} cells, found {len(counts)} with a state of {len(state.urn)}"
        )
    if not sum(counts) or (same_hours is not None and sum(same_hours) < sum(counts)):
        return state
    process = Process.resume(state)
    before = None if same_hours is None else np.array([same_hours], np.float64)
    process.step(experts_of(reference), np.array([counts], np.float64), at, seconds, before)
    return process.state()


def log_bets(experts: Experts, urn: Floats, present: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return what the experts of presence and those of values win by counts: ``[columns, experts]`` each.

    They are logarithms, as of independent rows; `present` is the mass of present values in the `urn`.
    """
    inner, values = urn[:, _FIRST:], counts[:, _FIRST:]
    outer = np.column_stack([urn[:, :_FIRST], present])
    presence = np.column_stack([counts[:, :_FIRST], values.sum(axis=1)])
    return _part_bets(experts.presence, outer, presence), _part_bets(experts.values, inner, values)


def _part_bets(part: Part, urn: Floats, counts: Floats) -> Floats:
    """Return the experts' log likelihood ratios to an urn over a window: ``[columns, experts]``."""
    shares = urn / urn.sum(axis=1)[:, None]
    tilted = counts @ part.tilts - counts.sum(axis=1)[:, None] * np.log(shares @ part.raised)
    return np.asarray(tilted + _spread(urn, counts)[:, None])


def _spread(urn: Floats, counts: Floats) -> Floats:
    """Return the log likelihood ratio of independent rows with the urn's shares to the urn: ``[columns]``."""
    total, rows = urn.sum(axis=1), counts.sum(axis=1)
    whole = log_rising(total, rows) - rows * np.log(total)
    return np.asarray(whole - (log_rising(urn, counts) - counts * np.log(urn)).sum(axis=1))


def _unpaid(elapsed_s: float) -> float:
    """Return the part of the stake that experts get later: it falls so slowly that none is ever left out."""
    return float(1 / (1 + np.log1p(elapsed_s / HORIZON_S)))


def log_rising(start: Floats, count: Floats) -> Floats:
    """Return ``log(start · (start + 1) … (start + count - 1))``, to some 1e-9; `start` is positive."""
    return _log_gamma(start + count) - _log_gamma(start)


def _log_gamma(x: Floats) -> Floats:
    # Stirling's series, seven steps further up for small numbers, where four of its terms are exact enough.
    small = x < 7
    far = np.where(small, x + 7, x)
    squared = 1 / far**2
    series = (1 / 12 - squared * (1 / 360 - squared * (1 / 1260 - squared / 1680))) / far
    result = (far - 0.5) * np.log(far) - far + (0.5 * math.log(2 * math.pi)) + series
    steps = x[small]
    result[small] -= np.log(np.prod(steps[:, None] + np.arange(7), axis=1))
    return np.asarray(result)
