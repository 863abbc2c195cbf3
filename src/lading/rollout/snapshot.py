"""A release as people are shown it: both sides in numbers, the verdict so far, and who drives.

Pure but for `look`, which reads the registry. Decides and draws nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lading.clock import unix_time
from lading.release import Release
from lading.rollout.driver import LEASE
from lading.rollout.evidence import Reading, assess
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window
from lading.verdict import Verdict
from lading.verdict.observations import quantile, seconds_at

if TYPE_CHECKING:
    from lading.registry import Registry

RATE_S = 10.0
"""Rates are those of the last seconds; all else is since the step began, as the verdict counts."""


class SideStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one version did since the step began. What is not known is None."""

    version: int
    share_percent: float
    requests: int
    requests_per_s: float
    errors: int
    latency_p50_s: float | None
    latency_p99_s: float | None
    feedback: FeedbackCounts
    outputs: dict[str, int]

    @property
    def error_share(self) -> float | None:
        """The share of requests that failed."""
        return self.errors / self.requests if self.requests else None

    @property
    def accuracy(self) -> float | None:
        """The share of right answers among those of which the truth is known."""
        rated = self.feedback.right + self.feedback.wrong
        return self.feedback.right / rated if rated else None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a release. Without a candidate there is nothing to compare and no verdict."""

    release: Release
    at: float
    live: SideStats | None
    candidate: SideStats | None
    shadow: ShadowCounts
    verdict: Verdict | None
    driver: str | None
    servers: int

    @property
    def step_age_s(self) -> float:
        """How long the running step lasts."""
        return max(0.0, self.at - unix_time(self.release.step_started_at))


def look(registry: Registry, reading: Reading, name: str, now: float) -> Snapshot | None:
    """Look at the current release of a model; None if it never had one."""
    release = registry.releases.current(name)
    if release is None:
        return None
    windows = reading.windows(release) if release.is_open else []
    verdict = assess(release, windows, now) if release.is_open else None
    driver = registry.fleet.lease_holder(LEASE)
    servers = sum(
        not one.gone and one.pattern != "foreign" for one in registry.fleet.replicas(include_gone_days=0)
    )
    return snapshot(release, windows, now, verdict, driver=driver, servers=servers)


def snapshot(
    release: Release,
    windows: Sequence[Window],
    now: float,
    verdict: Verdict | None,
    *,
    driver: str | None = None,
    servers: int = 0,
) -> Snapshot:
    """Add the windows of the running step up, side by side."""
    began = unix_time(release.step_started_at)
    step = [one for one in windows if began <= one.at <= now]
    copies = [one.shadow for one in step]
    of_live = 100.0 - release.weight_percent if release.is_open else 100.0
    return Snapshot(
        release=release,
        at=now,
        live=_half(release.live, of_live, step, now),
        candidate=_half(release.candidate, release.weight_percent, step, now),
        shadow=ShadowCounts(
            agreed=sum(one.agreed for one in copies),
            differed=sum(one.differed for one in copies),
            dropped=sum(one.dropped for one in copies),
            failed=sum(one.failed for one in copies),
        ),
        verdict=verdict,
        driver=driver,
        servers=servers,
    )


def _half(version: int | None, share_percent: float, step: Sequence[Window], now: float) -> SideStats | None:
    if version is None:
        return None
    ours = [one for one in step if one.version == version]
    recent = [one for one in ours if one.at >= now - RATE_S]
    # A window that began earlier reaches into the last seconds and is left out, so their time is measured.
    since = min((one.at for one in recent), default=now)
    latency = np.zeros(len(LATENCY_BOUNDS_S) + 1)
    outputs: Counter[str] = Counter()
    for one in ours:
        if one.latency:
            latency += np.asarray(one.latency)
        outputs.update(one.outputs)
    return SideStats(
        version=version,
        share_percent=share_percent,
        requests=sum(one.requests for one in ours),
        requests_per_s=sum(one.requests for one in recent) / max(1.0, now - since),
        errors=sum(sum(one.errors.values()) for one in ours),
        latency_p50_s=_latency(latency, 0.5),
        latency_p99_s=_latency(latency, 0.01),
        feedback=FeedbackCounts(
            right=sum(one.feedback.right for one in ours), wrong=sum(one.feedback.wrong for one in ours)
        ),
        outputs=dict(outputs.most_common()),
    )


def _latency(histogram: np.ndarray, tail: float) -> float | None:
    return seconds_at(float(quantile(histogram, tail))) if histogram.sum() else None
