"""A rollout with its traffic, on a clock that the test moves on."""

from __future__ import annotations

from lading.release import Plan, Release
from lading.rollout import WindowReader
from lading.rollout.snapshot import Snapshot, take_snapshot
from support.rollout_processes import driver_of, two_versions
from support.simulated_traffic import EQUAL, Behaviour, Clock, Crowd

FAST = Plan(mode="canary", steps=(20, 50, 100), hold_s=3, min_requests=500)
SHADOW = Plan(mode="shadow", hold_s=3, min_requests=500)


class SimulatedRollout:
    """A registry with two versions, their callers, and a driver, all on one clock."""

    def __init__(self, url: str, seed: int = 0) -> None:
        self.clock = Clock()
        self.registry = two_versions(url, clock=self.clock)
        self.crowd = Crowd(self.registry, seed, requests=2000)
        self.driver = driver_of(self.registry, "driver", clock=self.clock)

    def begin(self, plan: Plan) -> Release:
        """Begin the release of version 2."""
        return self.registry.releases.begin("iris", 2, plan, actor="ada")

    def second(self, candidate: Behaviour) -> Release:
        """Let a second pass, with its traffic and the driver's turn after it; return the release."""
        self.crowd.second(self.current(), self.clock.now, EQUAL, candidate)
        self.clock.now += 1
        self.driver.turn()
        return self.current()

    def until_it_ends(self, candidate: Behaviour, within_s: int = 120) -> Release:
        """Let seconds pass until the release has ended, and return it."""
        for _ in range(within_s):
            if not (release := self.second(candidate)).is_open:
                return release
        raise AssertionError(f"open after {within_s} s: step {release.step}")

    def current(self) -> Release:
        """Return the release as it is now."""
        return self.registry.releases.current("iris")

    def snapshot(self) -> Snapshot:
        """Return what people see of the release now."""
        return take_snapshot(self.registry, WindowReader(self.registry), "iris", self.clock())
