"""Tests that stay valid however often one looks: e-processes for rates, and a bound that holds at every time.

Counts go in, logarithms of e-values come out; knows no gate, window or release. An e-process begins at 1 and,
where its null hypothesis is true, has no tendency to grow: it ever reaches ``1/alpha`` with probability at
most ``alpha`` (Ville's inequality), so looking each second costs nothing. All arrays are ``[..., blocks]``;
a block is traffic of both sides between two moments that were chosen without regard to its outcomes.

Sources: R. Turner, A. Ly, P. Grünwald, "Generic E-variables for exact sequential k-sample tests that allow
for optional stopping", JSPI 230 (2024), and R. Turner, P. Grünwald, "Exact anytime-valid confidence intervals
for contingency tables and beyond", Stat. Probab. Lett. 198 (2023), for differences; S. Howard, A. Ramdas,
J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49
(2021), for `radius`; V. Vovk, R. Wang, "E-values: calibration, combination and applications", Ann. Statist.
49 (2021), for averaging e-values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Claim = Literal["harm", "safe"]
"""``harm``: candidate above live by more than the margin. ``safe``: above by less than the margin."""

EPOCH = 12
"""Blocks after which the second bettor forgets and starts again."""
_EDGE = 1e-9  # rates stay this far from 0 and 1, where a likelihood ratio would be infinite
_MAX_LOG = 60.0  # exp of it is some 1e26: far beyond every threshold, far below the limit of floats
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True)
class Stream:
    """One side's observations per block, each 1, 0 or `worth`, and its observations before the block."""

    n: Floats  # observations
    ones: Floats  # those that are 1
    # The number and the sum of earlier observations. They choose the bet, and only they may: chosen with the
    # block's own outcomes, it would not be fair.
    past_n: Floats
    past_x: Floats
    part: Floats | float = 0.0  # observations that are `worth`
    worth: Floats | float = 0.0

    def log_ratio(self, guess: Floats, null: Floats) -> Floats:
        """Return the log likelihood ratio of rate `guess` to rate `null`."""
        # Linear in an observation's worth, so that its expectation is that of a mixture of ones and zeros.
        up, down = guess / null, (1 - guess) / (1 - null)
        zeros = self.n - self.ones - self.part
        between = self.part * np.log(self.worth * up + (1 - self.worth) * down)
        return np.asarray(self.ones * np.log(up) + zeros * np.log(down) + between)


def two_sample(live: Stream, candidate: Stream, margin: Floats | float, claim: Claim) -> Floats:
    """Return each block's log e-value for `claim` on ``rate(candidate) - rate(live)`` against `margin`.

    The guess of both rates is made from the past; the null is the guess's projection (least Kullback-Leibler
    divergence, weighted by the block's sizes) on the line where the difference is the margin.
    """
    # The expectation under any pair of rates in the null, which is convex, is then at most 1, whether the
    # rates are constant or not: it is at most exp of the divergence's slope at the projection, which points
    # away from the null (Turner, Ly, Grünwald 2024). Unless the past speaks for the claim nothing is bet, and
    # the log e-value is 0.
    pooled = (live.past_x + candidate.past_x + 0.5) / (live.past_n + candidate.past_n + 1)
    a, b = _guess(live, pooled, 1.0), _guess(candidate, pooled, _BELIEF_WEIGHT[claim])
    speaks = b > a + margin if claim == "harm" else b < a + margin
    bets = speaks & (np.minimum(live.past_n, candidate.past_n) > 0) & (candidate.n > 0) & (live.n > 0)
    if not bets.any():
        return np.zeros(bets.shape)
    margin = np.broadcast_to(np.asarray(margin, dtype=np.float64), bets.shape)
    null = a.copy()
    null[bets] = _project(live.n[bets], a[bets], candidate.n[bets], b[bets], margin[bets])
    on_line = np.where(bets, np.clip(null + margin, _EDGE, 1 - _EDGE), b)
    return np.where(bets, live.log_ratio(a, null) + candidate.log_ratio(b, on_line), 0.0)


def one_sample(candidate: Stream, limit: Floats | float, claim: Claim) -> Floats:
    """Return each block's log e-value for the candidate's rate being above (``harm``) or below `limit`."""
    limit = np.clip(np.broadcast_to(np.asarray(limit, dtype=np.float64), candidate.n.shape), _EDGE, 1 - _EDGE)
    guess = _guess(candidate, 0.5 * limit if claim == "safe" else limit, 1.0)
    bets = (guess > limit if claim == "harm" else guess < limit) & (candidate.past_n > 0)
    return np.where(bets, candidate.log_ratio(guess, limit), 0.0)


# The weight, in requests, of the first belief that the candidate is as live: large if that is to be proved.
_BELIEF_WEIGHT: dict[Claim, float] = {"harm": 1.0, "safe": 100.0}


def _guess(stream: Stream, belief: Floats, weight: float) -> Floats:
    return np.clip((stream.past_x + weight * belief) / (stream.past_n + weight), _EDGE, 1 - _EDGE)


def _project(na: Floats, a: Floats, nb: Floats, b: Floats, margin: Floats) -> Floats:
    """Find the live rate t for which (t, t + margin) is nearest to the guess (a, b)."""
    if not margin.any():
        return np.asarray((na * a + nb * b) / (na + nb))
    low = np.clip(np.minimum(a, b - margin), _EDGE, 1 - margin - _EDGE)
    high = np.clip(np.maximum(a, b - margin), _EDGE, 1 - margin - _EDGE)
    # For small rates the slope is that of Poisson counts, whose root is a quadratic's. Newton's method starts
    # there, and is kept between its brackets by halving (of the logarithm): the slope rises with t.
    half = ((na + nb) * margin - na * a - nb * b) / 2
    root = np.sqrt(half**2 + (na + nb) * na * a * margin)
    t = np.clip(np.where(half > 0, na * a * margin / (half + root), (root - half) / (na + nb)), low, high)
    for _ in range(80):
        s = t + margin
        slope = na * (t - a) / (t * (1 - t)) + nb * (s - b) / (s * (1 - s))
        # The most that a slope that is not quite 0 adds to the log of the expectation.
        if np.all(np.abs(slope) * np.where(slope < 0, t, 1 - margin - t) < _NEGLIGIBLE):
            break
        low, high = np.where(slope <= 0, t, low), np.where(slope >= 0, t, high)
        bend = na * (a / t**2 + (1 - a) / (1 - t) ** 2) + nb * (b / s**2 + (1 - b) / (1 - s) ** 2)
        t = t - slope / bend
        t = np.where((t > low) & (t < high), t, np.sqrt(low * high))
    return np.asarray(t)


def mixed_path(whole: Floats, by_epoch: Floats, most: float) -> Floats:
    """Return the log e-value so far after each block, of two bettors who share the stake.

    One remembers everything (`whole`); the other starts again each epoch (`by_epoch`), epoch e with the share
    1/((e+1)(e+2)), and finds faults that begin late and would drown in a good past. No block counts for more
    than `most`: one bad second, in which requests are not independent, convicts nobody.
    """
    # An average of e-processes is an e-process (Vovk, Wang 2021), and capping only lowers an expectation. The
    # shares of all epochs sum to 1, because 1/((e+1)(e+2)) is 1/(e+1) - 1/(e+2).
    blocks = whole.shape[-1]
    if not blocks:
        return np.zeros((*whole.shape[:-1], 0))
    remembering = np.exp(np.clip(np.minimum(whole, most).cumsum(axis=-1), -_MAX_LOG, _MAX_LOG))
    run = np.minimum(by_epoch, most).cumsum(axis=-1)
    index = np.arange(blocks)
    epoch = index // EPOCH
    before = np.where(epoch > 0, run[..., epoch * EPOCH - 1], 0.0)
    forgetting = np.exp(np.clip(run - before, -_MAX_LOG, _MAX_LOG)) / ((epoch + 1) * (epoch + 2))
    ended = np.where(index % EPOCH == EPOCH - 1, forgetting, 0.0).cumsum(axis=-1)
    past = np.where(epoch > 0, ended[..., epoch * EPOCH - 1], 0.0)
    # Epochs to come keep their shares as they are, 1/(e+2) in sum.
    return np.asarray(np.log(0.5 * remembering + 0.5 * (past + forgetting + 1 / (epoch + 2))))


def radius(n: Any, log_inverse_alpha: float, best_at: float = 1000.0) -> Any:
    """Bound how far the mean of n observations in [0, 1] is ever above its expectation, for all n together.

    Narrowest about n = `best_at`. Takes log(1/alpha), because alpha may be less than floats hold.
    """
    # The one-sided normal mixture of Howard et al. (2021) in its closed form, with intrinsic time n/4: by
    # Hoeffding's lemma an observation in [0, 1] is sub-Gaussian with variance 1/4.
    n = np.maximum(n, 1e-9)
    rho = best_at / 4 / (2 * log_inverse_alpha + math.log1p(2 * log_inverse_alpha))
    time = n / 4 + rho
    log_term = np.logaddexp(0.0, log_inverse_alpha - math.log(2) + 0.5 * np.log(time / rho))
    return np.sqrt(2 * time * log_term) / n


def highest_rate(n: float, x: float, alpha: float) -> float:
    """Bound a rate from above, for all n together, from x ones among n."""
    # The likelihood ratio of the Krichevsky-Trofimov mixture to any rate is an e-process, and the mixture is
    # at least the highest likelihood divided by 2√n.
    if n < 1:
        return 1.0
    mean, allowed = min(x / n, 1.0), (math.log(2 / alpha) + 0.5 * math.log(n)) / n
    low, high = mean, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        low, high = (rate, high) if _divergence(mean, rate) < allowed else (low, rate)
    return high


def _divergence(p: float, q: float) -> float:
    """Return the Kullback-Leibler divergence of two Bernoulli distributions."""
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)
