"""Tests that stay valid however often one looks: e-processes for rates, and a bound that holds at every time.

Counts go in, logarithms of e-values come out; knows no gate, window or release. An e-process begins at 1 and,
where its null hypothesis is true, has no tendency to grow: it ever reaches ``1/alpha`` with probability at
most ``alpha`` (Ville's inequality), so looking each second costs nothing. All arrays are ``[..., blocks]``;
a block is traffic of both sides between two moments that were chosen without regard to what came out.

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
"""Blocks after which the second bettor forgets and begins anew."""
_EDGE = 1e-9
_MOST = 60.0
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True)
class Stream:
    """One side's observations, each 1, 0 or `worth`, per block; and what was seen of it before the block.

    ``past_n`` and ``past_x`` are the number and the sum of earlier observations. They choose the bet, and
    only they may: the block's own outcomes must not.
    """

    n: Floats
    ones: Floats
    past_n: Floats
    past_x: Floats
    part: Floats | float = 0.0
    worth: Floats | float = 0.0

    def log_ratio(self, guess: Floats, null: Floats) -> Floats:
        """Return the log likelihood ratio of rate `guess` to rate `null`, linear in an observation's worth."""
        up, down = guess / null, (1 - guess) / (1 - null)
        zeros = self.n - self.ones - self.part
        between = self.part * np.log(self.worth * up + (1 - self.worth) * down)
        return np.asarray(self.ones * np.log(up) + zeros * np.log(down) + between)


def two_sample(live: Stream, candidate: Stream, margin: Floats | float, claim: Claim) -> Floats:
    """Return each block's log e-value for `claim` on ``rate(candidate) - rate(live)`` against `margin`.

    The guess of both rates is made from the past; the null is the guess's projection (least Kullback-Leibler
    divergence, weighted by the block's sizes) on the line where the difference is the margin. The expectation
    under any pair of rates in the null, which is convex, is then at most 1, be the rates constant or not:
    it is at most exp of the divergence's slope at the projection, which points away from the null.
    Where the past does not speak for the claim, nothing is bet: log e-value 0.
    """
    pooled = (live.past_x + candidate.past_x + 0.5) / (live.past_n + candidate.past_n + 1)
    a, b = _guess(live, pooled, 1.0), _guess(candidate, pooled, _FAITH[claim])
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


# How many requests' weight the belief "as live" has at first: much where that is what is to be proved.
_FAITH: dict[Claim, float] = {"harm": 1.0, "safe": 100.0}


def _guess(stream: Stream, belief: Floats, weight: float) -> Floats:
    return np.clip((stream.past_x + weight * belief) / (stream.past_n + weight), _EDGE, 1 - _EDGE)


def _project(na: Floats, a: Floats, nb: Floats, b: Floats, margin: Floats) -> Floats:
    """Find the live rate t for which (t, t + margin) is nearest to the guess (a, b)."""
    if not margin.any():
        return np.asarray((na * a + nb * b) / (na + nb))
    low = np.clip(np.minimum(a, b - margin), _EDGE, 1 - margin - _EDGE)
    high = np.clip(np.maximum(a, b - margin), _EDGE, 1 - margin - _EDGE)
    # For small rates the slope is that of Poisson counts, whose root is a quadratic's. Newton goes on from
    # there, kept between its brackets by halving: the slope rises with t.
    half = ((na + nb) * margin - na * a - nb * b) / 2
    root = np.sqrt(half**2 + (na + nb) * na * a * margin)
    t = np.clip(np.where(half > 0, na * a * margin / (half + root), (root - half) / (na + nb)), low, high)
    for _ in range(80):
        s = t + margin
        slope = na * (t - a) / (t * (1 - t)) + nb * (s - b) / (s * (1 - s))
        # What a slope that is not quite 0 adds to the log of the expectation, at most.
        if np.all(np.abs(slope) * np.where(slope < 0, t, 1 - margin - t) < _NEGLIGIBLE):
            break
        low, high = np.where(slope <= 0, t, low), np.where(slope >= 0, t, high)
        bend = na * (a / t**2 + (1 - a) / (1 - t) ** 2) + nb * (b / s**2 + (1 - b) / (1 - s) ** 2)
        t = t - slope / bend
        t = np.where((t > low) & (t < high), t, np.sqrt(low * high))
    return np.asarray(t)


def mixed_path(whole: Floats, by_epoch: Floats, most: float) -> Floats:
    """Return the log e-value so far after each block, of two bettors who share the stake.

    One remembers everything (`whole`); the other begins anew each epoch (`by_epoch`), epoch e with the share
    1/((e+1)(e+2)), which finds what went wrong late and would drown in a good past. An average of e-processes
    is one. No block counts for more than `most` (capping lowers an expectation): one bad second, in which
    requests are not independent, convicts nobody.
    """
    blocks = whole.shape[-1]
    if not blocks:
        return np.zeros((*whole.shape[:-1], 0))
    first = np.exp(np.clip(np.minimum(whole, most).cumsum(axis=-1), -_MOST, _MOST))
    run = np.minimum(by_epoch, most).cumsum(axis=-1)
    index = np.arange(blocks)
    epoch = index // EPOCH
    before = np.where(epoch > 0, run[..., epoch * EPOCH - 1], 0.0)
    second = np.exp(np.clip(run - before, -_MOST, _MOST)) / ((epoch + 1) * (epoch + 2))
    ended = np.where(index % EPOCH == EPOCH - 1, second, 0.0).cumsum(axis=-1)
    past = np.where(epoch > 0, ended[..., epoch * EPOCH - 1], 0.0)
    return np.asarray(np.log(0.5 * first + 0.5 * (past + second + 1 / (epoch + 2))))


def radius(n: Any, log_inverse_alpha: float, best_at: float = 1000.0) -> Any:
    """Bound how far the mean of n observations in [0, 1] ever lies above its expectation, at all n at once.

    The one-sided normal mixture of Howard et al. (2021) in its closed form, with intrinsic time n/4
    (Hoeffding); narrowest about n = `best_at`. Takes log(1/alpha): alpha may be below what floats hold.
    """
    n = np.maximum(n, 1e-9)
    rho = best_at / 4 / (2 * log_inverse_alpha + math.log1p(2 * log_inverse_alpha))
    time = n / 4 + rho
    log_term = np.logaddexp(0.0, log_inverse_alpha - math.log(2) + 0.5 * np.log(time / rho))
    return np.sqrt(2 * time * log_term) / n


def highest_rate(n: float, x: float, alpha: float) -> float:
    """Bound a rate from above, at all n at once, from x ones among n.

    The likelihood ratio of the Krichevsky-Trofimov mixture to any rate is an e-process, and the mixture is at
    least the highest likelihood divided by 2√n.
    """
    if n < 1:
        return 1.0
    mean, allowed = min(x / n, 1.0), (math.log(2 / alpha) + 0.5 * math.log(n)) / n
    low, high = mean, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        low, high = (rate, high) if _divergence(mean, rate) < allowed else (low, rate)
    return high


def _divergence(p: float, q: float) -> float:
    return sum(one * math.log(one / other) for one, other in ((p, q), (1 - p, 1 - q)) if one > 0)
