"""Reads the traffic that servers counted for a release, and asks for the verdict. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.clock import unix_time
from lading.release import Release
from lading.traffic import Window
from lading.verdict import Verdict, judge

if TYPE_CHECKING:
    from lading.registry import Registry

# How late a window may arrive: a server keeps some minutes of them while the catalog is unreachable.
LATE_S = 900.0


class WindowReader:
    """Reads the windows of releases. Each call reads on from the last: a long rollout has many."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, int], dict[str, Window]] = {}

    def windows(self, release: Release) -> list[Window]:
        """Return all windows of a release, oldest first."""
        # By id, because a window that is read again must count once.
        known = self._known.setdefault((release.name, release.number), {})
        newest = max((window.at for window in known.values()), default=None)
        since = None if newest is None else newest - LATE_S
        recent = self._registry.traffic.windows(release.name, release.number, since)
        known |= {window.id: window for window in recent}
        return sorted(known.values(), key=lambda window: (window.at, window.id))

    def keep(self, releases: Sequence[Release]) -> None:
        """Forget the windows of all releases but these."""
        kept = {(release.name, release.number) for release in releases}
        self._known = {key: windows for key, windows in self._known.items() if key in kept}


def assess(release: Release, windows: Sequence[Window], now: float) -> Verdict:
    """Judge the windows of both sides of a release; `now` is a Unix time."""
    # The windows of a release are of both versions.
    live = [window for window in windows if window.version == release.live]
    candidate = [window for window in windows if window.version == release.candidate]
    return judge(release.plan.gates, live, candidate, now, unix_time(release.step_started_at), release.plan)
