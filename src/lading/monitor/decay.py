"""Decay: is the accuracy over labelled live rows below that of the reference? Valid at every look.

How to call it, in the order of time, with the labelled rows of each window:

    state = DecayState.start(reference_right, reference_rows, window_s=3600.0)
    state = advance(state, wrong, right, at=window.at, seconds=window.seconds)
    state.log_e                                    # alarms as those of drift do (`discoveries`)
    interval(state, alpha=0.05)                    # accuracy so far, with a confidence sequence

The test is that of drift over two cells, wrong and right, with experts that bet on more wrong answers: the
reference is a finite sample here, too, and hours resemble each other. Labels that come late make windows
late; which rows get labels at all is not its question: rows whose labels never come are not in it. It knows
no other metric than the share of right answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np

from lading.errors import UsageError
from lading.monitor.drift import DriftState, Process, log_rising
from lading.monitor.experts import experts_of_errors

STATED_ROWS = 1_000_000
"""Rows that a reference accuracy is taken to be measured on where that is not known: it counts as exact."""


class DecayState(msgspec.Struct, frozen=True):
    """The decay test of one model or slice after some windows, to be stored as JSON.

    ``wrong`` and ``right`` count labelled live rows so far; ``effective_rows`` is how many independent rows
    say as much.
    """

    reference_wrong: int
    reference_right: int
    test: DriftState
    wrong: int = 0
    right: int = 0
    effective_rows: float = 0.0

    @classmethod
    def start(cls, reference_right: int, reference_rows: int, window_s: float = 3600.0) -> DecayState:
        """Return the state before the first window, for a reference with so many right of its rows."""
        wrong = reference_rows - reference_right
        return cls(
            wrong,
            reference_right,
            Process.start(experts_of_errors(wrong, reference_right), 1, window_s).state(),
        )

    @classmethod
    def start_from_accuracy(
        cls, accuracy: float, rows: int = STATED_ROWS, window_s: float = 3600.0
    ) -> DecayState:
        """Return the state before the first window, for a reference accuracy measured on so many `rows`."""
        if not 0 <= accuracy <= 1:
            raise UsageError(f"decay: expected a reference accuracy from 0 to 1, found {accuracy:g}")
        return cls.start(round(accuracy * rows), rows, window_s)

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against the null hypothesis of no decay."""
        return self.test.log_e

    @property
    def began_at(self) -> float | None:
        """The Unix time of the window with which the present evidence of decay began, None without any."""
        return self.test.began_at

    @property
    def accuracy(self) -> float | None:
        """The share of right answers among the labelled live rows, None without any."""
        rows = self.wrong + self.right
        return self.right / rows if rows else None

    @property
    def reference_accuracy(self) -> float:
        """The share of right answers in the reference."""
        return self.reference_right / max(1, self.reference_right + self.reference_wrong)


def advance(state: DecayState, wrong: int, right: int, at: float, seconds: float) -> DecayState:
    """Return the state after one more window, of `wrong` and `right` labelled rows; as it was without any."""
    # A window without labels is no evidence, and must not look like one without errors.
    if wrong + right == 0:
        return state
    experts = experts_of_errors(state.reference_wrong, state.reference_right)
    process = Process.resume(state.test)
    # Read before the step: a window must not be judged by what it teaches itself.
    factor = float(process.dispersion.factors(np.array([float(wrong + right)]))[0, -1])
    # Right and wrong are two categories of a column; missing and unseen, the first cells, do not occur.
    process.step(experts, np.array([[0, 0, wrong, right]], np.float64), at, seconds)
    return msgspec.structs.replace(
        state,
        test=process.state(),
        wrong=state.wrong + wrong,
        right=state.right + right,
        effective_rows=state.effective_rows + (wrong + right) / factor,
    )


def interval(state: DecayState, alpha: float = 0.05) -> tuple[float, float]:
    """Return bounds of the accuracy over labelled live rows, which hold at all times together.

    They are a confidence sequence of level ``1 - alpha`` for independent rows, widened by the dispersion
    that was learnt. (0, 1) without labels.
    """
    rows = state.wrong + state.right
    if not rows or not state.effective_rows:
        return 0.0, 1.0
    part = state.effective_rows / rows
    return bernoulli_interval(state.right * part, state.wrong * part, alpha)


def bernoulli_interval(ones: float, zeros: float, alpha: float) -> tuple[float, float]:
    """Return the rates that the mixture of all rates does not refute at `alpha`, at any time."""
    # Ville's inequality for the likelihood ratio of the Krichevsky–Trofimov mixture to a rate.
    half, unit = np.array([[0.5]]), np.array([[1.0]])
    mixture = float(
        (log_rising(half, np.array([[ones]])) + log_rising(half, np.array([[zeros]])))[0, 0]
        - log_rising(unit, np.array([[ones + zeros]]))[0, 0]
    )
    limit = mixture + math.log(alpha)

    def refuted(rate: float) -> bool:
        return _log_likelihood(ones, zeros, rate) < limit

    mean = ones / (ones + zeros)
    return _bisect(refuted, mean, 0.0), _bisect(refuted, mean, 1.0)


def _log_likelihood(ones: float, zeros: float, rate: float) -> float:
    terms = ((ones, rate), (zeros, 1 - rate))
    return sum(count * (math.log(share) if share > 0 else -math.inf) for count, share in terms if count)


def _bisect(refuted: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return the edge between a rate that is not refuted and one at the end of the range."""
    if not refuted(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if refuted(middle) else (middle, outside)
    return inside
