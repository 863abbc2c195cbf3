"""Windows of live traffic as servers would write them, drawn with a seed: for tests without servers."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from lading.registry import Registry
from lading.release import Release
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window


@dataclass(frozen=True)
class Behaviour:
    """How a version answers. Latencies are log-normal around `p50_s`."""

    p50_s: float = 0.002
    errors: float = 0.001
    labels: dict[str, float] = field(default_factory=lambda: {"setosa": 0.4, "virginica": 0.6})
    accuracy: float | None = 0.9
    agreement: float = 0.999


NO_COPIES = ShadowCounts()
EQUAL = Behaviour()
BAD = {
    "slow": Behaviour(p50_s=0.02),
    "failing": Behaviour(errors=0.1),
    "shifted": Behaviour(labels={"setosa": 0.9, "virginica": 0.1}),
    "wrong by feedback": Behaviour(accuracy=0.6),
}


class Crowd:
    """Callers of one model: each second, `requests` of them, split as the release says."""

    def __init__(self, registry: Registry, seed: int = 0, *, requests: int = 400, replica: str = "a") -> None:
        self._registry = registry
        self._random = np.random.default_rng(seed)
        self._requests = requests
        self._replica = replica

    def second(self, release: Release, at: float, live: Behaviour, candidate: Behaviour) -> None:
        """Write the windows of one second of traffic under `release`."""
        to_candidate = int(self._random.binomial(self._requests, release.weight_percent / 100))
        written = []
        if release.live is not None and to_candidate < self._requests:
            written.append(self._window(release, release.live, at, self._requests - to_candidate, live))
        if release.candidate is not None and release.plan.mode == "shadow":
            copies = self._copies(self._requests, candidate)
            written.append(self._window(release, release.candidate, at, self._requests, candidate, copies))
        elif release.candidate is not None and to_candidate:
            copies = self._copies(20, candidate)
            written.append(self._window(release, release.candidate, at, to_candidate, candidate, copies))
        self._registry.traffic.add_windows(written)

    def _copies(self, count: int, candidate: Behaviour) -> ShadowCounts:
        agreed = int(self._random.binomial(count, candidate.agreement))
        return ShadowCounts(agreed=agreed, differed=count - agreed)

    def _window(
        self,
        release: Release,
        version: int,
        at: float,
        requests: int,
        behaviour: Behaviour,
        shadow: ShadowCounts = NO_COPIES,
    ) -> Window:
        draw = self._random
        latency = [0] * (len(LATENCY_BOUNDS_S) + 1)
        for seconds in draw.lognormal(math.log(behaviour.p50_s), 0.4, requests):
            latency[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        failed = int(draw.binomial(requests, behaviour.errors))
        labelled = draw.multinomial(requests - failed, list(behaviour.labels.values())).tolist()
        rated = 0 if behaviour.accuracy is None else requests // 4
        right = int(draw.binomial(rated, behaviour.accuracy or 0))
        return Window(
            name=release.name,
            release=release.number,
            version=version,
            digest="sha256:" + "0" * 64,
            replica=self._replica,
            at=at,
            seconds=1.0,
            requests=requests,
            errors={"RunFailed": failed} if failed else {},
            latency=tuple(latency),
            outputs=dict(zip(behaviour.labels, labelled, strict=True)),
            shadow=shadow,
            feedback=FeedbackCounts(right=right, wrong=rated - right),
        )


class Clock:
    """A clock that is set by hand, shared by the registry and the driver."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
