"""The rollout driver: what it does as traffic comes in, and that kills and races repeat or skip nothing."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.clock import unix_time
from lading.errors import RegistryUnavailable, StaleRelease, UsageError
from lading.release import Plan, Release, verify_chain
from lading.rollout import LEASE, apply, paused, promoted, resumed, unique_holder
from support.registries import rows_at
from support.release_processes import new_version
from support.rollout_processes import (
    AT_ONCE,
    EVERY_NTH,
    Killed,
    ObservedRegistry,
    die_at_each_moment,
    drive,
    driver_of,
    two_versions,
)
from support.simulated_rollout import FAST, SHADOW, SimulatedRollout
from support.simulated_traffic import BAD, EQUAL, Behaviour
from support.waiting import wait_until

KINDS_TO_LIVE = ["released", "released", "step", "step", "promoted"]

WORDS = {"slow": "latency", "failing": "errors", "shifted": "outputs", "wrong by feedback": "accuracy"}


@pytest.mark.slow
@pytest.mark.parametrize("way", BAD)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_bad_candidate_is_rolled_back_and_the_reason_names_the_harm(tmp_path, way, seed):
    rollout = SimulatedRollout(str(tmp_path / "registry"), seed)
    rollout.begin(FAST)
    ended = rollout.until_it_ends(BAD[way])
    assert (ended.state, ended.live, ended.candidate, ended.weight_percent) == ("rolled_back", 1, None, 0)
    assert WORDS[way] in ended.reason
    assert "harm is certain" in ended.reason
    last = rollout.registry.releases.events("iris")[-1]
    assert (last.kind, last.from_, last.to, last.actor) == ("rolled_back", "2", "1", "driver")
    assert last.evidence["candidate.requests"] > 0
    assert verify_chain(rollout.registry.releases.events()) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_an_equal_candidate_is_promoted_step_by_step(tmp_path, seed):
    rollout = SimulatedRollout(str(tmp_path / "registry"), seed)
    rollout.begin(FAST)
    ended = rollout.until_it_ends(EQUAL)
    assert (ended.state, ended.live, ended.candidate) == ("live", 2, None)
    events = rollout.registry.releases.events("iris")
    assert [event.kind for event in events] == KINDS_TO_LIVE
    assert [event.to for event in events[2:]] == ["50 %", "100 %", "2"]
    times = [unix_time(event.at) for event in events[1:]]
    assert all(later - earlier >= FAST.hold_s for earlier, later in itertools.pairwise(times))


@pytest.mark.slow
def test_a_shadow_is_never_promoted_automatically_and_is_rolled_back_when_it_disagrees(rollout):
    rollout.begin(SHADOW)
    for _ in range(15):
        assert rollout.second(EQUAL).state == "running"
    assert rollout.snapshot().verdict.action == "promote"
    ended = rollout.until_it_ends(Behaviour(agreement=0.2))
    assert ended.state == "rolled_back"
    assert "agreement" in ended.reason


@pytest.mark.slow
def test_a_candidate_without_traffic_is_rolled_back_after_the_timeout(rollout):
    rollout.begin(Plan(mode="canary", hold_s=1, no_traffic_timeout_s=30))
    for _ in range(29):
        rollout.clock.now += 1
        assert rollout.driver.turn() == []
    rollout.clock.now += 1
    assert [release.state for release in rollout.driver.turn()] == ["rolled_back"]
    assert "no traffic" in rollout.current().reason


def test_a_paused_release_keeps_its_weight_and_resumes_at_its_step(rollout):
    rollout.begin(AT_ONCE)
    rollout.driver.turn()
    at_50 = rollout.current()
    stopped = apply(rollout.registry, at_50, paused(at_50, "ada", "lunch"))
    for _ in range(3):
        assert rollout.driver.turn() == []
    assert rollout.current().weight_percent == 50
    apply(rollout.registry, stopped, resumed(stopped, "ada", ""))
    assert [release.weight_percent for release in rollout.driver.turn()] == [100]


def test_a_release_that_cannot_be_judged_is_paused_and_does_not_block_others(tmp_path):
    registry = two_versions(str(tmp_path / "registry"))
    for bundle in (3, 4):
        registry.catalog.versions.add(new_version("zinnia", bundle), (), lambda: None)
    registry.releases.begin("zinnia", 1, actor="ada")
    unknown = Plan(mode="canary", gates={"max_sadness": 1.0})
    registry.releases.begin("iris", 2, unknown, actor="ada")
    registry.releases.begin("zinnia", 2, AT_ONCE, actor="ada")
    changed = driver_of(registry, "driver").turn()
    assert [(release.name, release.state) for release in changed] == [
        ("iris", "paused"),
        ("zinnia", "running"),
    ]
    assert "cannot be judged" in changed[0].reason
    assert "max_sadness" in changed[0].reason


@pytest.mark.parametrize("late_s", [0.3, 4.0])
def test_a_driver_whose_clock_is_late_waits_no_longer_for_a_step(tmp_path, late_s):
    """A clock is late by as long as the catalog took to say the time."""
    registry = two_versions(str(tmp_path))
    registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
    driver = driver_of(registry, "driver", clock=lambda: registry.fleet.now() - late_s)
    assert [release.state for _ in range(3) for release in driver.turn()] == ["running", "running", "live"]


def test_every_driver_has_a_name_of_its_own():
    assert unique_holder() != unique_holder()
    assert unique_holder("web-1").startswith("driver@web-1-")


# Kills and races.


def check(registry, *, ended: bool = True) -> None:
    """Check that no step was skipped or taken twice, and that the chain of events is complete."""
    events = registry.releases.events("iris")
    assert verify_chain(events) is None
    taken = [event.to for event in events if event.kind in ("step", "promoted")]
    assert taken == ["50 %", "100 %", "2"][: len(taken)]
    if ended:
        current = registry.releases.current("iris")
        assert (current.state, current.live, current.candidate) == ("live", 2, None)
        assert len(taken) == 3


def finish(registry, holder: str) -> None:
    """Have another driver continue until nothing is left to do."""
    driver = driver_of(registry, holder)
    while driver.turn():
        check(registry, ended=False)


@pytest.mark.slow
@pytest.mark.parametrize("error", [Killed, RegistryUnavailable])
def test_another_driver_continues_after_a_failure_at_any_call_of_the_registry(tmp_path, error):
    moment, reached = 0, True
    while reached:
        moment += 1
        registry = two_versions(str(tmp_path / str(moment)))
        registry.releases.begin("iris", 2, AT_ONCE, actor="ada")

        def fail(at: int, *, moment: int = moment) -> None:
            if at == moment:
                raise error("now")

        observed = ObservedRegistry(registry, fail)
        first = driver_of(observed, "first")
        try:
            while first.turn():
                pass
        except error:
            pass
        reached = observed.moments == moment
        check(registry, ended=False)
        registry.fleet.release_lease(LEASE, "first")  # It would expire; the test need not wait for that.
        finish(registry, "second")
        check(registry)
    assert moment > 16, "each of four turns makes at least four calls, but the last two"


@pytest.mark.slow
def test_a_driver_that_slept_while_another_took_over_repeats_nothing(tmp_path):
    moment, reached = 0, True
    while reached:
        moment += 1
        registry = two_versions(str(tmp_path / str(moment)))
        registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
        second = driver_of(registry, "second")

        def take_over(at: int, *, moment: int = moment, registry=registry, second=second) -> None:
            if at == moment:
                registry.fleet.release_lease(LEASE, "first")
                second.turn()
                registry.fleet.release_lease(LEASE, "second")

        observed = ObservedRegistry(registry, take_over)
        first = driver_of(observed, "first")
        for _ in range(6):
            first.turn()
            check(registry, ended=False)
        check(registry)
        reached = observed.moments >= moment
    assert moment > 16


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.sampled_from(["a", "b"])),
        st.tuples(st.just("kill"), st.integers(1, 12)),
        st.tuples(st.sampled_from(["pause", "resume", "promote"]), st.booleans()),
    ),
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_no_step_is_skipped_or_taken_twice_whatever_drivers_kills_and_people_do(tmp_path_factory, actions):
    registry = two_versions(str(tmp_path_factory.mktemp("registry")))
    registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
    earlier = registry.releases.current("iris")
    for action, detail in actions:
        if action == "turn":
            driver_of(registry, detail).turn()
            registry.fleet.release_lease(LEASE, detail)
        elif action == "kill":
            die_in_a_turn(registry, detail)
        else:
            earlier = by_hand(registry, earlier, action, stale=detail)
        check(registry, ended=False)
    current = registry.releases.current("iris")
    if current.state == "paused":
        apply(registry, current, resumed(current, "ada", ""))
    finish(registry, "last")
    check(registry)


def die_in_a_turn(registry, moment: int) -> None:
    def die(at: int) -> None:
        if at == moment:
            raise Killed

    with contextlib.suppress(Killed):
        driver_of(ObservedRegistry(registry, die), "killed").turn()
    registry.fleet.release_lease(LEASE, "killed")


def by_hand(registry, earlier: Release, action: str, *, stale: bool) -> Release:
    """Act as a person who read the release just now, or some time ago; what is refused changes nothing."""
    before = registry.releases.current("iris")
    release = earlier if stale else before
    move = {"pause": paused, "resume": resumed, "promote": promoted}[action]
    try:
        return apply(registry, release, move(release, "ada", ""))
    except (StaleRelease, UsageError):
        assert registry.releases.current("iris") == before
        return release


@pytest.mark.slow
def test_another_driver_continues_after_a_kill_before_any_call_that_touches_the_disk(tmp_path):
    processes = multiprocessing.get_context("spawn")
    results = processes.Queue()
    child = processes.Process(target=die_at_each_moment, args=(str(tmp_path), results))
    child.start()
    moments = 0
    while (url := results.get(timeout=60)) is not None:
        registry = rows_at(url)
        check(registry, ended=False)
        registry.fleet.release_lease(LEASE, "first")
        finish(registry, "second")
        check(registry)
        registry.catalog.close()
        moments += 1
    child.join(60)
    assert child.exitcode == 0
    assert moments > 100 / EVERY_NTH


@pytest.mark.slow
def test_a_killed_leader_is_replaced_within_ten_seconds(tmp_path):
    url = str(tmp_path / "registry")
    registry = two_versions(url)
    processes = multiprocessing.get_context("spawn")
    started = {name: processes.Event() for name in ("a", "b")}
    drivers = {name: processes.Process(target=drive, args=(url, name, started[name])) for name in started}
    for process in drivers.values():
        process.start()
    try:
        assert all(event.wait(30) for event in started.values())
        leader = registry.fleet.lease_holder(LEASE)
        other = "b" if leader == "a" else "a"
        os.kill(drivers[leader].pid, signal.SIGKILL)
        killed = time.monotonic()
        registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
        wait_until(lambda: len(registry.releases.events("iris")) > 2)
        assert time.monotonic() - killed < 10
        assert registry.fleet.lease_holder(LEASE) == other
        wait_until(lambda: not registry.releases.current("iris").is_open)
        check(registry)
        assert {event.actor for event in registry.releases.events("iris")[2:]} == {other}
    finally:
        for process in drivers.values():
            process.kill()
            process.join(10)


def test_a_driver_waits_while_the_catalog_is_unreachable_and_releases_the_lease_at_the_end(tmp_path):
    registry = two_versions(str(tmp_path / "registry"))
    registry.releases.begin("iris", 2, AT_ONCE, actor="ada")

    def unreachable(at: int) -> None:
        if at <= 5:
            raise RegistryUnavailable("the catalog")

    stop = threading.Event()
    driver = driver_of(ObservedRegistry(registry, unreachable), "driver", interval_s=0.01)
    thread = threading.Thread(target=driver.run, args=(stop,))
    thread.start()
    wait_until(lambda: not registry.releases.current("iris").is_open)
    assert registry.fleet.lease_holder(LEASE) == "driver"
    stop.set()
    thread.join(10)
    assert registry.fleet.lease_holder(LEASE) is None
    check(registry)


def test_one_driver_holds_the_lease_at_a_time(tmp_path):
    url = str(tmp_path / "registry")
    first, second = two_versions(url), rows_at(url)
    first.releases.begin("iris", 2, AT_ONCE, actor="ada")
    leading, waiting = driver_of(first, "first"), driver_of(second, "second")
    assert [release.weight_percent for release in leading.turn()] == [50]
    assert waiting.turn() == []
    assert first.fleet.lease_holder(LEASE) == second.fleet.lease_holder(LEASE) == "first"
    first.fleet.release_lease(LEASE, "first")
    assert [release.weight_percent for release in waiting.turn()] == [100]
