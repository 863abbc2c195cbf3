"""Places what others have dated on the driver's own steady clock, so that a clock that jumps does no harm.

Windows are dated by the servers that counted them, the begin of a step by the process that changed it. What
arrives while one looks on has just happened: a date far from that is another clock's, and not believed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from lading.clock import unix_time
from lading.release import Plan, Release
from lading.rollout.evidence import LATE_S
from lading.traffic import Window

# How far others' clocks may be ahead.
EARLY_S = 5.0
# How long one has to look on before the absence of traffic counts, because its last time is another clock's.
LEAST_WATCH_S = 60.0


@dataclass
class _Watched:
    """What is known of a release that is looked at."""

    since: float
    looked_at: float
    traffic_at: float | None = None  # When a window with requests to the candidate last arrived.
    steps: dict[int, float] = field(default_factory=dict)
    placed: dict[str, float] = field(default_factory=dict)


class Timeline:
    """The time of windows and steps of running releases; `now` is always that of the same steady clock."""

    def __init__(self) -> None:
        self._watched: dict[tuple[str, int], _Watched] = {}

    def keep(self, releases: Sequence[Release]) -> None:
        """Forget all releases but these."""
        kept = {(release.name, release.number) for release in releases}
        self._watched = {key: watched for key, watched in self._watched.items() if key in kept}

    def place(self, release: Release, windows: Sequence[Window], now: float) -> tuple[Release, list[Window]]:
        """Return a release and its windows as they are to be judged at `now`: dated by this clock.

        The plan's time limit without traffic is put off while it has not been waited for here.
        """
        key = (release.name, release.number)
        watched = self._watched.get(key)
        # At first sight there is nothing to hold a date against but the present.
        earliest = -math.inf if watched is None else watched.looked_at - LATE_S
        if watched is None:
            watched = self._watched[key] = _Watched(since=now, looked_at=now)
        for window in windows:
            if window.id not in watched.placed:
                watched.placed[window.id] = _within(window.at, earliest, now)
                if earliest > -math.inf and window.version == release.candidate:
                    watched.traffic_at = now
        if release.step not in watched.steps:
            lowest = earliest if not watched.steps else watched.looked_at - EARLY_S
            # It has begun when it is first looked at, whatever a clock that is ahead of this one says.
            watched.steps[release.step] = min(now, _within(unix_time(release.step_started_at), lowest, now))
        watched.looked_at = now
        moved = [
            window
            if watched.placed[window.id] == window.at
            else msgspec.structs.replace(window, at=watched.placed[window.id])
            for window in windows
        ]
        return self._judged(release, watched, now), moved

    def started_at(self, release: Release) -> float:
        """Return when the running step of a release began."""
        return self._watched[release.name, release.number].steps[release.step]

    def _judged(self, release: Release, watched: _Watched, now: float) -> Release:
        plan = release.plan
        waited_s = now - (watched.since if watched.traffic_at is None else watched.traffic_at)
        enough_s = plan.no_traffic_timeout_s
        if watched.traffic_at is None:
            enough_s = min(enough_s / 2, LEAST_WATCH_S)
        if waited_s >= enough_s:
            return release
        patient: Plan = msgspec.structs.replace(plan, no_traffic_timeout_s=math.inf)
        return msgspec.structs.replace(release, plan=patient)


def _within(at: float, earliest: float, now: float) -> float:
    """Return `at`, or the present second if it is out of the range that is believed."""
    return at if earliest <= at <= now + EARLY_S else float(math.floor(now))
