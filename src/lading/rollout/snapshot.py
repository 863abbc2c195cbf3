"""A release as people see it: both sides in numbers, the verdict so far, and which process drives it.

Pure but for `take_snapshot`, which reads the registry. Decides and draws nothing.
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
from lading.rollout.estimate import Estimate, Estimator
from lading.rollout.evidence import WindowReader, assess
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window
from lading.verdict import Verdict
from lading.verdict.observations import quantile, seconds_at

if TYPE_CHECKING:
    from lading.registry import Registry

# Rates are those of the last seconds; all else is since the step began, as the verdict counts.
RATE_S = 10.0


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
    """A release at the Unix time ``at``. Without a candidate there is nothing to compare and no verdict."""

    release: Release
    at: float
    live: SideStats | None
    candidate: SideStats | None
    shadow: ShadowCounts
    verdict: Verdict | None
    driver: str | None
    servers: int
    estimate: Estimate | None = None

    @property
    def step_age_s(self) -> float:
        """How long the running step has lasted."""
        return max(0.0, self.at - unix_time(self.release.step_started_at))

    def frequent_outputs(self, most: int = 5) -> list[tuple[str, float | None, float | None]]:
        """Return the most frequent answers, each with the share that live and the candidate gave it.

        An answer that one of them no longer gives counts by the other. A side without answers has None.
        """
        sides = [side.outputs if side is not None else {} for side in (self.live, self.candidate)]
        totals: Counter[str] = Counter()
        for outputs in sides:
            totals.update(outputs)
        names = sorted(totals, key=lambda name: (-totals[name], name))[:most]
        live, candidate = (
            [outputs.get(name, 0) / sum(outputs.values()) if outputs else None for name in names]
            for outputs in sides
        )
        return list(zip(names, live, candidate, strict=True))


def take_snapshot(
    registry: Registry, reader: WindowReader, name: str, now: float, estimator: Estimator | None = None
) -> Snapshot | None:
    """Return the current release of a model as of `now`, a Unix time; None if it never had one."""
    release = registry.releases.current(name)
    if release is None:
        return None
    windows = reader.windows(release) if release.is_open else []
    verdict = assess(release, windows, now) if release.is_open else None
    driver = registry.fleet.lease_holder(LEASE)
    replicas = registry.fleet.replicas(include_gone_days=0)
    # A server that is not lading's follows no release.
    servers = sum(not replica.gone and replica.pattern != "foreign" for replica in replicas)
    taken = snapshot(release, windows, now, verdict, driver=driver, servers=servers)
    if estimator is None or not release.is_open:
        return taken
    return msgspec.structs.replace(taken, estimate=estimator(release, windows, now))


def snapshot(
    release: Release,
    windows: Sequence[Window],
    now: float,
    verdict: Verdict | None,
    *,
    driver: str | None = None,
    servers: int = 0,
) -> Snapshot:
    """Add up the windows of the running step, side by side."""
    began = unix_time(release.step_started_at)
    # A window that reaches into the step from before is left out: it is about both weights.
    step = [window for window in windows if began <= window.at <= now]
    copies = [window.shadow for window in step]
    live_percent = 100.0 - release.weight_percent if release.is_open else 100.0
    return Snapshot(
        release=release,
        at=now,
        live=_side_stats(release.live, live_percent, step, now),
        candidate=_side_stats(release.candidate, release.weight_percent, step, now),
        shadow=ShadowCounts(
            agreed=sum(counts.agreed for counts in copies),
            differed=sum(counts.differed for counts in copies),
            dropped=sum(counts.dropped for counts in copies),
            failed=sum(counts.failed for counts in copies),
        ),
        verdict=verdict,
        driver=driver,
        servers=servers,
    )


def _side_stats(
    version: int | None, share_percent: float, step: Sequence[Window], now: float
) -> SideStats | None:
    if version is None:
        return None
    windows = [window for window in step if window.version == version]
    recent = [window for window in windows if window.at >= now - RATE_S]
    # A window that began earlier reaches into the last seconds and is left out, so the time is measured from
    # the first that counts.
    since = min((window.at for window in recent), default=now)
    latency = np.zeros(len(LATENCY_BOUNDS_S) + 1)  # [bins]
    outputs: Counter[str] = Counter()
    for window in windows:
        if window.latency:
            latency += np.asarray(window.latency)
        outputs.update(window.outputs)
    return SideStats(
        version=version,
        share_percent=share_percent,
        requests=sum(window.requests for window in windows),
        # At least a second: one window alone would make a rate of any size.
        requests_per_s=sum(window.requests for window in recent) / max(1.0, now - since),
        errors=sum(sum(window.errors.values()) for window in windows),
        latency_p50_s=_latency_s(latency, 0.5),
        latency_p99_s=_latency_s(latency, 0.01),
        feedback=FeedbackCounts(
            right=sum(window.feedback.right for window in windows),
            wrong=sum(window.feedback.wrong for window in windows),
        ),
        outputs=dict(outputs.most_common()),
    )


def _latency_s(histogram: np.ndarray, tail: float) -> float | None:
    return seconds_at(float(quantile(histogram, tail))) if histogram.sum() else None
