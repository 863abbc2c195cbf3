"""Windows of one version as a replica writes them, drawn with a seed, and the verdict on a candidate's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lading.release import Plan
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window
from lading.verdict import Verdict, judge

START = 1_000_000.0
CANARY = Plan(mode="canary", steps=(20,), hold_s=30, min_requests=500)
SHADOW = Plan(mode="shadow", hold_s=30, min_requests=500)


def windows(
    version: int,
    rate: float,
    *,
    seconds: int = 120,
    start: float = START,
    seed: int = 0,
    error: float = 0.002,
    slowdown: float = 1.0,
    outputs: tuple[float, ...] = (0.5, 0.3, 0.2),
    accuracy: float = 0.9,
    rated: float = 0.5,
    rows: int = 1,
    agreement: float | None = None,
    pairs: int = 20,
    same: float = 0.99,
) -> list[Window]:
    """Draw the windows of one replica, one per second; those of shadow copies if `agreement` is passed.

    Else, a candidate has `pairs` requests that both sides answer, the share `same` of them alike.
    """
    rng = np.random.default_rng([seed, version])
    drawn = []
    for second in range(seconds):
        n = int(rng.poisson(rate))
        latency = slowdown * 0.003 * np.exp(rng.normal(0, 0.5, n))
        bins = np.bincount(np.searchsorted(LATENCY_BOUNDS_S, latency), minlength=len(LATENCY_BOUNDS_S) + 1)
        errors, feedback = int(rng.binomial(n, error)), int(rng.binomial(n, rated))
        right = int(rng.binomial(feedback, accuracy))
        copies = n if agreement is not None else pairs * (version != 1)
        agreed = int(rng.binomial(copies, same if agreement is None else agreement))
        labels = zip("abcdefg", rng.multinomial(n, outputs), strict=False)
        drawn.append(
            Window(
                name="iris",
                release=2,
                version=version,
                digest="sha256:0",
                replica="r1",
                at=start + second,
                seconds=1.0,
                requests=n if agreement is None else 0,
                errors={"RunFailed": errors} if errors and agreement is None else {},
                latency=tuple(bins.tolist()) if agreement is None else (),
                outputs={label: int(count) * rows for label, count in labels if count},
                shadow=ShadowCounts(agreed=agreed, differed=copies - agreed),
                feedback=FeedbackCounts(right=right, wrong=feedback - right),
            )
        )
    return drawn


LIVE = windows(1, 200)


def verdict(
    candidate: Sequence[Window],
    *,
    gates: Mapping[str, Any] | None = None,
    plan: Plan = CANARY,
    live: Sequence[Window] = LIVE,
    age: float = 120,
) -> Verdict:
    """Judge a step that began at `START`, `age` seconds later."""
    return judge(gates or {}, live, candidate, START + age, START, plan)
