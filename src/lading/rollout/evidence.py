"""Reading what the servers told of a release, and asking for the verdict. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.clock import unix_time
from lading.release import Release
from lading.traffic import Window
from lading.verdict import Verdict, judge

if TYPE_CHECKING:
    from lading.registry import Registry

LATE_S = 900.0
"""How late a window may come and still be seen: a server keeps some minutes while the catalog is away."""


class Reading:
    """The windows of releases. Each look reads on from the last, for a long rollout has many."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, int], dict[str, Window]] = {}

    def windows(self, release: Release) -> list[Window]:
        """Return all windows of a release, oldest first."""
        known = self._known.setdefault((release.name, release.number), {})
        newest = max((one.at for one in known.values()), default=None)
        since = None if newest is None else newest - LATE_S
        known |= {one.id: one for one in self._registry.traffic.windows(release.name, release.number, since)}
        return sorted(known.values(), key=lambda one: (one.at, one.id))

    def keep(self, releases: Sequence[Release]) -> None:
        """Forget the windows of all but these."""
        wanted = {(one.name, one.number) for one in releases}
        self._known = {key: known for key, known in self._known.items() if key in wanted}


def assess(release: Release, windows: Sequence[Window], now: float) -> Verdict:
    """Judge the windows of a release, both sides of it; `now` is Unix time."""
    live = [one for one in windows if one.version == release.live]
    candidate = [one for one in windows if one.version == release.candidate]
    started = unix_time(release.step_started_at)
    return judge(release.plan.gates, live, candidate, now, started, release.plan)
