"""Clocks that jump while a canary runs: of the driver's host, of the servers, of the catalog, of all."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest

from lading.clock import SteadyClock
from lading.registry import Registry
from lading.release import Plan, Release
from lading.rollout import LEASE, Driver
from support.rollout_processes import driver_of, two_versions
from support.simulated_rollout import FAST
from support.simulated_traffic import BAD, EQUAL, Behaviour, Crowd

JUMPS = {"an hour ahead": 3600.0, "an hour back": -3600.0, "a day ahead": 86400.0}
WHO = ("the driver", "the servers", "the catalog", "all")


@dataclass
class Jumps:
    """A canary on clocks that can be set apart; true time goes on evenly."""

    registry: Registry
    crowd: Crowd
    true_s: float = 0.0
    ahead_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WHO, 0.0))
    driver: Driver | None = None

    def steady(self) -> float:
        return self.true_s

    def clock_of(self, who: str) -> float:
        return 1_800_000_000.0 + self.true_s + self.ahead_s[who] + self.ahead_s["all"]

    def new_driver(self, name: str) -> Driver:
        clock = SteadyClock(lambda: self.clock_of("the driver"), self.steady)
        return driver_of(self.registry, name, clock=clock, steady=self.steady)

    def second(self, candidate: Behaviour) -> Release:
        self.crowd.second(self.current(), float(int(self.clock_of("the servers"))), EQUAL, candidate)
        self.true_s += 1
        self.driver.turn()
        return self.current()

    def current(self) -> Release:
        return self.registry.releases.current("iris")

    def until_it_ends(self, candidate: Behaviour, within_s: int = 200) -> Release:
        for _ in range(within_s):
            if not (release := self.second(candidate)).is_open:
                return release
        raise AssertionError(f"open after {within_s} s: step {release.step}")


@pytest.fixture
def jumps(tmp_path) -> Jumps:
    made: list[Jumps] = []
    registry = two_versions(
        str(tmp_path / "registry"), clock=lambda: made[0].clock_of("the catalog") if made else 1_799_999_000.0
    )
    made.append(Jumps(registry, Crowd(registry, 0, requests=2000)))
    made[0].driver = made[0].new_driver("first")
    return made[0]


def begin(jumps: Jumps, plan: Plan = FAST) -> None:
    jumps.registry.releases.begin("iris", 2, plan, actor="ada")
    for _ in range(2):
        assert jumps.second(EQUAL).is_open


def take_over(jumps: Jumps) -> None:
    """Have another driver, which has seen nothing yet, drive from now on."""
    jumps.registry.fleet.release_lease(LEASE, "first")
    jumps.driver = jumps.new_driver("second")


@pytest.mark.slow
@pytest.mark.parametrize("takes_over", [False, True])
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("who", WHO)
def test_a_clock_that_jumps_neither_ends_nor_stops_a_good_canary(jumps, who, jump, takes_over):
    begin(jumps)
    jumps.ahead_s[who] = JUMPS[jump]
    if takes_over:
        take_over(jumps)
    ended = jumps.until_it_ends(EQUAL)
    assert (ended.state, ended.live) == ("live", 2), ended.reason
    kinds = [event.kind for event in jumps.registry.releases.events("iris")]
    assert kinds == ["released", "released", "step", "step", "promoted"]


@pytest.mark.slow
@pytest.mark.parametrize("jump", ["an hour ahead", "an hour back"])
@pytest.mark.parametrize("who", ["the servers", "all"])
def test_harm_is_seen_all_the_same(jumps, who, jump):
    begin(jumps)
    jumps.ahead_s[who] = JUMPS[jump]
    ended = jumps.until_it_ends(BAD["failing"])
    assert ended.state == "rolled_back"
    assert "harm is certain" in ended.reason


@pytest.mark.slow
@pytest.mark.parametrize("jump", ["an hour ahead", "an hour back"])
@pytest.mark.parametrize("who", WHO)
def test_a_step_is_held_for_its_time_whatever_clocks_do(jumps, who, jump):
    begin(jumps, Plan(mode="canary", steps=(20, 50, 100), hold_s=8, min_requests=500))
    began_s, steps = jumps.true_s - 2, []
    for second in range(90):
        if second == 3:
            jumps.ahead_s[who] = JUMPS[jump]
        release = jumps.second(EQUAL)
        if release.step > len(steps):
            steps.append(jumps.true_s)
        if not release.is_open:
            break
    times = [began_s, *steps, jumps.true_s]
    assert (release.state, len(times)) == ("live", 4), release.reason
    assert all(later - earlier >= 8 for earlier, later in itertools.pairwise(times))


@pytest.mark.slow
@pytest.mark.parametrize("who", [None, "all"])
def test_a_candidate_without_traffic_is_still_rolled_back(jumps, who):
    begin(jumps, Plan(mode="canary", steps=(20, 100), hold_s=300, no_traffic_timeout_s=100))
    if who is not None:
        jumps.ahead_s[who] = 3600
    quiet_since = jumps.true_s
    while jumps.current().is_open:
        jumps.true_s += 1
        jumps.driver.turn()
        assert jumps.true_s - quiet_since < 150
    assert jumps.true_s - quiet_since >= 98
    assert "no traffic" in jumps.current().reason
