"""Reads the traffic that servers counted for a release, and asks for the verdict. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lading.clock import unix_time
from lading.release import Release
from lading.traffic import Window
from lading.verdict import GatePath, Verdict, judge, judge_with_paths

if TYPE_CHECKING:
    from lading.registry import Registry

# How late a window may arrive: a server keeps some minutes of them while the catalog is unreachable.
LATE_S = 900.0
# Windows that arrived within this time say from when on to read.
_RECENT_S = 60.0
# After so long without a new window all are read: the clock of a server may have been set back.
_SILENT_S = 30.0


class WindowReader:
    """Reads the windows of releases. Each call reads on from the last: a long rollout has many."""

    def __init__(self, registry: Registry, steady: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._steady = steady
        self._known: dict[tuple[str, int], dict[str, Window]] = {}
        # By release: when windows were read that were new, and the earliest date among them.
        self._arrivals: dict[tuple[str, int], list[tuple[float, float]]] = {}

    def windows(self, release: Release) -> list[Window]:
        """Return all windows of a release, oldest first."""
        # By id, because a window that is read again must count once.
        key, now = (release.name, release.number), self._steady()
        known = self._known.setdefault(key, {})
        recent = self._registry.traffic.windows(release.name, release.number, self._since(key, now))
        new = [window.at for window in recent if window.id not in known]
        if new:
            # Of the first reading the last window counts, or the next ones would read all of them again.
            earliest = min(new) if known else max(new)
            self._arrivals.setdefault(key, []).append((now, earliest))
        known |= {window.id: window for window in recent}
        return sorted(known.values(), key=lambda window: (window.at, window.id))

    def _since(self, key: tuple[str, int], now: float) -> float | None:
        """Return from which time on to read; None is from the first."""
        arrivals = self._arrivals.get(key)
        if not arrivals:
            return None
        if now - arrivals[-1][0] > _SILENT_S:
            # Not with every call: for the next while, what is known by now counts as having arrived.
            arrivals.append((now, arrivals[-1][1]))
            return None
        recent = [arrival for arrival in arrivals if now - arrival[0] <= _RECENT_S]
        self._arrivals[key] = recent
        return min(at for _, at in recent) - LATE_S

    def keep(self, releases: Sequence[Release]) -> None:
        """Forget the windows of all releases but these."""
        kept = {(release.name, release.number) for release in releases}
        self._known = {key: windows for key, windows in self._known.items() if key in kept}
        self._arrivals = {key: arrivals for key, arrivals in self._arrivals.items() if key in kept}


def assess(
    release: Release, windows: Sequence[Window], now: float, step_started_at: float | None = None
) -> Verdict:
    """Judge the windows of both sides of a release; `now` is a Unix time.

    `step_started_at` is when its step began by the clock of `now`; without it, it is what the release says.
    """
    began = unix_time(release.step_started_at) if step_started_at is None else step_started_at
    return judge(release.plan.gates, *_sides(release, windows), now, began, release.plan)


def assess_with_paths(
    release: Release, windows: Sequence[Window], now: float
) -> tuple[Verdict, tuple[GatePath, ...]]:
    """Judge as `assess` does, and return how the evidence of each gate came to be what it is."""
    began = unix_time(release.step_started_at)
    return judge_with_paths(release.plan.gates, *_sides(release, windows), now, began, release.plan)


def _sides(release: Release, windows: Sequence[Window]) -> tuple[list[Window], list[Window]]:
    """Return the windows of live and those of the candidate: a release has windows of both."""
    live = [window for window in windows if window.version == release.live]
    return live, [window for window in windows if window.version == release.candidate]
