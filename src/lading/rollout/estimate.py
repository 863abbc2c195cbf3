"""How long a release will take at the present rate: the verdict is asked about traffic that goes on as now.

A canary is live in the end; a shadow or an A/B test has its evidence, and waits for a person to decide.

An estimate assumes that the candidate goes on as it has begun, or as live does while it has answered little.
It promises nothing, and the verdict does not read it. Pure but for `Estimator`, which times itself.
"""

from __future__ import annotations

import bisect
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from lading.clock import unix_time
from lading.release import Plan, Release
from lading.traffic import FeedbackCounts, ShadowCounts, Window
from lading.verdict import Action, judge

RATE_S = 60.0
"""The present rate is that of the last minute, or of the time since the step began if that is less."""
PROFILE_S = 600.0
PAIRS_PER_S = 10.0
"""The requests a second that a server process lets both sides of a canary answer, where it gets as many."""
LONGEST_S = 86400.0
"""What takes longer than a day is not estimated but said to be too long."""

_LEAST_AGE_S = 5.0
# Of fewer, chance alone makes outputs differ by as much as the limit, and what goes on so has no end.
_LEAST_OWN_REQUESTS = 500
_LEAST_PAIRS = 50
# Horizons that are tried, each a sixth longer than the last: nobody needs an estimate to be closer.
_HORIZONS_S = tuple(LONGEST_S / 1.16**steps for steps in range(76, -1, -1))
_PIECES = 40
# First steps that are tried where the one of the plan is too small, in percent.
_LARGER = (10, 25, 50)
_NO_PAIRS = ShadowCounts()


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """How long it will take at ``requests_per_s``; None is longer than a day, or never.

    ``harmful`` says that a candidate that goes on like this will be rolled back.
    """

    requests_per_s: float  # to the model, both sides, without copies; 0 is not known: there were none
    step_s: float | None = None  # until this step has its evidence; 0 if it has
    live_s: float | None = None  # until the candidate is live; None also where a person decides that
    harmful: bool = False


class LargerStep(msgspec.Struct, frozen=True, kw_only=True):
    """A first step of a canary that would have its evidence within a day."""

    percent: int
    live_s: float


class Forecast(Estimate, frozen=True, kw_only=True):
    """An estimate of a release before it begins, with a larger first step where its own is too small."""

    larger: LargerStep | None = None


@dataclass(frozen=True, slots=True)
class _Profile:
    """What one request looks like: the counts of some windows, and how many requests they are about."""

    window: Window
    requests: int

    def copied(self) -> _Profile:
        """Return the profile of copies of these requests: nobody has seen their answers or rates them."""
        return _Profile(msgspec.structs.replace(self.window, feedback=FeedbackCounts()), self.requests)

    def windows(
        self, requests: float, since: float, until: float, pairs: ShadowCounts = _NO_PAIRS
    ) -> list[Window]:
        """Spread `requests` like these, and `pairs`, over the time as windows, rounded to the right sums."""
        edges = np.linspace(since, until, _PIECES + 1)
        whole = self.window
        drawn = []
        for piece in range(_PIECES):
            low, high = (requests / max(1, self.requests) * share / _PIECES for share in (piece, piece + 1))
            feedback = FeedbackCounts(
                right=_between(whole.feedback.right, low, high),
                wrong=_between(whole.feedback.wrong, low, high),
            )
            drawn.append(
                msgspec.structs.replace(
                    whole,
                    at=float(edges[piece]),
                    seconds=float(edges[piece + 1] - edges[piece]),
                    requests=_between(self.requests, low, high),
                    errors=_scaled(whole.errors, low, high),
                    latency=tuple(_between(count, low, high) for count in whole.latency),
                    outputs=_scaled(whole.outputs, low, high),
                    feedback=feedback,
                    shadow=_share_of(pairs, piece / _PIECES, (piece + 1) / _PIECES),
                    id=f"estimate-{whole.version}-{edges[piece]}",
                )
            )
        return drawn


def estimate(release: Release, windows: Sequence[Window], now: float) -> Estimate | None:
    """Return how long a running release will take from `now`; None if nothing can be said of it yet."""
    began, shadow = unix_time(release.step_started_at), release.plan.mode == "shadow"
    if release.state != "running" or now - began < _LEAST_AGE_S:
        return None
    # A window that reaches into the step from before is about both weights; the running second is not whole.
    step = [window for window in windows if began <= window.at <= now]
    # What a candidate in shadow has answered are copies.
    asked = [window for window in step if window.version == release.live] if shadow else step
    rate = _rate(asked, max(began, now - RATE_S), now)
    live, candidate = (
        [window for window in windows if window.version == version]
        for version in (release.live, release.candidate)
    )
    recent = [window for window in live if window.at >= now - PROFILE_S]
    profile = _profile(recent or live)
    if not rate or profile is None:
        return Estimate(requests_per_s=0.0)
    own = _profile([window for window in candidate if window.at >= began])
    like_live = profile.copied() if shadow else profile
    theirs = own if own is not None and own.requests >= _LEAST_OWN_REQUESTS else like_live
    pairs = _pairs(step, rate, now - began, shadow=shadow)
    course = _Course(_patient(release.plan), rate, profile, theirs, pairs)
    first = course.step_s(release.step, live, candidate, began, now)
    if first is None and course.verdict(release.step, live, candidate, began, now, LONGEST_S) == "roll_back":
        return Estimate(requests_per_s=rate, harmful=True)
    return course.all_steps(release.step, first)


def forecast(plan: Plan, live: Sequence[Window], now: float, since: float) -> Estimate:
    """Return how long a release will take that begins `now`, by live's windows from `since` on."""
    recent = [window for window in live if window.at >= since]
    rate, profile = _rate(recent, since, now), _profile(recent)
    if not rate or profile is None:
        return Estimate(requests_per_s=0.0)
    shadow = plan.mode == "shadow"
    theirs = profile.copied() if shadow else profile
    course = _Course(_patient(plan), rate, profile, theirs, _equal_pairs(rate, shadow=shadow))
    return course.all_steps(0, course.step_s(0, (), (), now, now))


def outlook(plan: Plan, live: Sequence[Window], now: float, since: float) -> Forecast:
    """Return what `forecast` does, and a larger first step of a canary whose own has no end within a day."""
    own, larger = forecast(plan, live, now, since), None
    if plan.mode == "canary" and own.requests_per_s and own.live_s is None:
        for percent in (share for share in _LARGER if share > plan.steps[0]):
            other = forecast(msgspec.structs.replace(plan, steps=(percent, 100)), live, now, since)
            if other.live_s is not None:
                larger = LargerStep(percent=percent, live_s=other.live_s)
                break
    return Forecast(**msgspec.structs.asdict(own), larger=larger)


def _patient(plan: Plan) -> Plan:
    """Return the plan without its end when no traffic comes: the pieces of an estimate are far apart."""
    return msgspec.structs.replace(plan, no_traffic_timeout_s=math.inf)


@dataclass(frozen=True, slots=True)
class _Course:
    """A release whose both sides go on like their profiles, at one rate."""

    plan: Plan
    rate: float
    live: _Profile
    candidate: _Profile
    pairs: ShadowCounts  # requests that both sides answer, in a thousand seconds

    def all_steps(self, step: int, first: float | None) -> Estimate:
        """Add up the steps from `step` on, which takes `first` seconds more."""
        if self.plan.mode != "canary":
            return Estimate(requests_per_s=self.rate, step_s=first)  # A person decides what comes then.
        total, last = first, first
        for later in range(step + 1, len(self.plan.steps)):
            if total is None or last is None:
                break
            # Live's traffic of the step before is what a step that leaves live none is compared with.
            held_s = max(last, self.plan.hold_s)
            share = 1 - self.plan.steps[later - 1] / 100
            before = self.live.windows(self.rate * share * held_s, -held_s, 0.0)
            last = self.step_s(later, before, (), 0.0, 0.0)
            total = None if last is None else total + last
        too_long = total is None or total > LONGEST_S
        return Estimate(requests_per_s=self.rate, step_s=first, live_s=None if too_long else total)

    def step_s(
        self, step: int, live: Sequence[Window], candidate: Sequence[Window], began: float, now: float
    ) -> float | None:
        """Return after how long the verdict on a step is to promote; None if not within a day.

        0 if it is so now: a canary goes on at once, but a shadow or an A/B test stays there.
        """
        if now > began and self.verdict(step, live, candidate, began, now, 0.0) == "promote":
            return 0.0
        # More time is more evidence: the first horizon at which it is to promote is found by halving.
        at = bisect.bisect_left(
            _HORIZONS_S,
            True,
            key=lambda after_s: self.verdict(step, live, candidate, began, now, after_s) == "promote",
        )
        return _HORIZONS_S[at] if at < len(_HORIZONS_S) else None

    def verdict(
        self,
        step: int,
        live: Sequence[Window],
        candidate: Sequence[Window],
        began: float,
        now: float,
        after_s: float,
    ) -> Action:
        """Return what the verdict is `after_s` from now, by the windows so far and more like them."""
        until = now + after_s
        share, theirs = self._shares(step)
        # A side without a share has no windows at all, as in life.
        more_live = self.live.windows(self.rate * share * after_s, now, until) if share else []
        pairs = _share_of(self.pairs, 0.0, after_s / 1000)
        more = self.candidate.windows(self.rate * theirs * after_s, now, until, pairs) if theirs else []
        both = ([*live, *more_live], [*candidate, *more])
        return judge(self.plan.gates, *both, until, began, self.plan).action

    def _shares(self, step: int) -> tuple[float, float]:
        """Return which parts of the requests live and the candidate answer; in shadow, both answer all."""
        if self.plan.mode == "shadow":
            return 1.0, 1.0
        share = self.plan.steps[step] / 100
        return 1 - share, share


class Estimator:
    """Estimates of a release that is watched: renewed so seldom that they cost little."""

    def __init__(self, share: float = 0.05) -> None:
        self._share = share  # of the time that estimating may take
        self._last: tuple[tuple[str, int, int], float, Estimate | None] | None = None
        self._rest_until = 0.0

    def __call__(self, release: Release, windows: Sequence[Window], now: float) -> Estimate | None:
        """Return how long the release will take from `now`, perhaps by an estimate of some seconds ago."""
        key, began = (release.name, release.number, release.epoch), time.monotonic()
        if self._last is None or self._last[0] != key or self._last[2] is None or began >= self._rest_until:
            self._last = (key, now, estimate(release, windows, now))
            took_s = time.monotonic() - began
            self._rest_until = began + took_s / self._share
        _, at, known = self._last
        if known is None:
            return None
        step_s, live_s = (
            max(1.0, seconds - (now - at)) if seconds else seconds for seconds in (known.step_s, known.live_s)
        )
        return msgspec.structs.replace(known, step_s=step_s, live_s=live_s)


def _rate(windows: Sequence[Window], since: float, now: float) -> float:
    """Return the requests per second of whole windows."""
    counted = [window for window in windows if since <= window.at <= now]
    return sum(window.requests for window in counted) / max(1.0, now - since)


def _profile(windows: Sequence[Window]) -> _Profile | None:
    """Add up windows of one version; None without a request."""
    requests = sum(window.requests for window in windows)
    if not requests:
        return None
    latencies = [window.latency for window in windows if window.latency]
    outputs: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for window in windows:
        outputs.update(window.outputs)
        errors.update(window.errors)
    total = msgspec.structs.replace(
        windows[-1],
        requests=requests,
        errors=dict(errors),
        outputs=dict(outputs),
        latency=tuple(np.sum(latencies, axis=0).tolist()) if latencies else (),
        feedback=FeedbackCounts(
            right=sum(window.feedback.right for window in windows),
            wrong=sum(window.feedback.wrong for window in windows),
        ),
    )
    return _Profile(total, requests)


def _pairs(step: Sequence[Window], rate: float, age_s: float, *, shadow: bool) -> ShadowCounts:
    """Return the pairs of a thousand seconds, as they were in this step; while there are few, all equal."""
    counts = [window.shadow for window in step]
    known = ShadowCounts(
        agreed=sum(count.agreed for count in counts),
        differed=sum(count.differed for count in counts),
        failed=sum(count.failed for count in counts),
        same_values=sum(count.same_values for count in counts),
    )
    few = known.agreed + known.differed + known.failed < _LEAST_PAIRS
    return _equal_pairs(rate, shadow=shadow) if few else _share_of(known, 0.0, 1000 / age_s)


def _equal_pairs(rate: float, *, shadow: bool) -> ShadowCounts:
    # In shadow every request is answered by both.
    count = round(1000 * (rate if shadow else min(rate, PAIRS_PER_S)))
    return ShadowCounts(agreed=count, same_values=count)


def _share_of(counts: ShadowCounts, low: float, high: float) -> ShadowCounts:
    return ShadowCounts(
        agreed=_between(counts.agreed, low, high),
        differed=_between(counts.differed, low, high),
        failed=_between(counts.failed, low, high),
        same_values=_between(counts.same_values, low, high),
    )


def _scaled(counts: Mapping[str, int], low: float, high: float) -> dict[str, int]:
    scaled = {name: _between(count, low, high) for name, count in counts.items()}
    return {name: count for name, count in scaled.items() if count}


def _between(count: int, low: float, high: float) -> int:
    return round(count * high) - round(count * low)
