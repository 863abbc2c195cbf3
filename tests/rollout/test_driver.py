"""The rollout driver: what follows from a verdict, what is never done twice, and who goes on after a kill."""

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
from lading.rollout import LEASE, WindowReader, apply, decide, paused, promoted, resumed, rolled_back
from lading.rollout.snapshot import take_snapshot
from lading.verdict import Verdict
from support import rollout_processes as rolling
from support.registries import rows_at
from support.rollout_processes import AT_ONCE, Killed, ObservedRegistry, driver_of, two_versions
from support.simulated_traffic import BAD, EQUAL, Behaviour, Clock, Crowd
from support.waiting import wait_until

STEPS = (5, 25, 100)
FAST = Plan(mode="canary", steps=(20, 50, 100), hold_s=3, min_requests=500)
SHADOW = Plan(mode="shadow", hold_s=3, min_requests=500)
KINDS_TO_LIVE = ["released", "released", "step", "step", "promoted"]


def release(mode: str = "canary", step: int = 0, state: str = "running") -> Release:
    plan = Plan(mode=mode, steps=STEPS if mode == "canary" else ())
    is_open = state in ("running", "paused")
    return Release(
        name="iris",
        number=2,
        live=1,
        candidate=2 if is_open else None,
        plan=plan,
        step=step,
        weight_percent=float(plan.steps[step]) if is_open else 0.0,
        state=state,
        reason="",
        actor="ada",
        runtime=None,
        replaces=1,
        created_at="2026-11-20T08:00:00Z",
        changed_at="2026-11-20T08:00:00Z",
        step_started_at="2026-11-20T08:00:00Z",
        epoch=1,
    )


def verdict(action: str) -> Verdict:
    return Verdict(action, ("a reason",), {"candidate.requests": 1200.0})


# What follows from a verdict.


@pytest.mark.parametrize(
    ("action", "mode", "step", "state", "kind"),
    [
        ("hold", "canary", 0, "running", None),
        ("hold", "shadow", 0, "running", None),
        ("promote", "canary", 0, "running", "step"),
        ("promote", "canary", 1, "running", "step"),
        ("promote", "canary", 2, "running", "promoted"),
        ("promote", "shadow", 0, "running", None),
        ("promote", "ab", 0, "running", None),
        ("roll_back", "canary", 0, "running", "rolled_back"),
        ("roll_back", "canary", 2, "running", "rolled_back"),
        ("roll_back", "shadow", 0, "running", "rolled_back"),
        ("roll_back", "ab", 0, "running", "rolled_back"),
        ("promote", "canary", 0, "paused", None),
        ("roll_back", "canary", 0, "paused", None),
        ("promote", "canary", 2, "live", None),
        ("roll_back", "canary", 0, "rolled_back", None),
        ("promote", "canary", 0, "superseded", None),
        ("promote", "canary", 0, "refused", None),
    ],
)
def test_what_follows_from_a_verdict(action, mode, step, state, kind):
    move = decide(release(mode, step, state), verdict(action), "driver")
    assert (move.event.kind if move is not None else None) == kind


def test_a_step_is_the_next_one_and_says_why():
    move = decide(release(step=0), verdict("promote"), "driver")
    assert move.changes == {"step": 1, "state": "running"}
    assert (move.event.from_, move.event.to, move.event.actor) == ("5 %", "25 %", "driver")
    assert move.event.reason == "no harm seen in 1,200 requests"
    assert move.event.evidence == {"reasons": ["a reason"], "candidate.requests": 1200.0}


def test_a_rollback_says_what_was_harmful():
    move = decide(release(step=1), verdict("roll_back"), "driver")
    assert move.changes == {"state": "rolled_back", "reason": "a reason"}
    assert (move.event.from_, move.event.to) == ("2", "1")


@pytest.mark.parametrize("mode", ["shadow", "ab"])
def test_shadow_and_ab_go_live_by_hand(mode):
    assert promoted(release(mode), "ada", "").changes["state"] == "live"


@pytest.mark.parametrize(
    ("move", "state"),
    [
        (promoted, "live"),
        (promoted, "rolled_back"),
        (rolled_back, "superseded"),
        (paused, "paused"),
        (paused, "live"),
        (resumed, "running"),
        (resumed, "refused"),
    ],
)
def test_a_move_that_the_state_does_not_allow_is_refused_and_says_the_state(move, state):
    with pytest.raises(UsageError, match=f"found state `{state}`"):
        move(release(state=state), "ada", "")


def test_a_paused_release_goes_on_with_the_step_that_is_asked_for():
    assert promoted(release(state="paused"), "ada", "").changes == {"step": 1, "state": "running"}


# The whole way, with traffic.


class Story:
    """A registry whose clock is set by hand, callers, and a driver."""

    def __init__(self, url: str, seed: int = 0) -> None:
        self.clock = Clock()
        self.registry = two_versions(url, clock=self.clock)
        self.crowd = Crowd(self.registry, seed, requests=2000)
        self.driver = driver_of(self.registry, "driver", clock=self.clock)

    def second(self, candidate: Behaviour) -> Release:
        """Let a second pass, with its traffic and the driver's turn after it."""
        current = self.registry.releases.current("iris")
        self.crowd.second(current, self.clock.now, EQUAL, candidate)
        self.clock.now += 1
        self.driver.turn()
        return self.registry.releases.current("iris")

    def until_it_ends(self, candidate: Behaviour, most_s: int = 120) -> Release:
        for _ in range(most_s):
            if not (current := self.second(candidate)).is_open:
                return current
        raise AssertionError(f"open after {most_s} s: step {current.step}")


@pytest.fixture
def story(tmp_path) -> Story:
    return Story(str(tmp_path / "registry"))


WORDS = {"slow": "latency", "failing": "errors", "shifted": "outputs", "wrong by feedback": "accuracy"}


@pytest.mark.parametrize("way", BAD)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_bad_candidate_is_rolled_back_by_itself_and_the_reason_says_how(tmp_path, way, seed):
    story = Story(str(tmp_path / "registry"), seed)
    story.registry.releases.begin("iris", 2, FAST, actor="ada")
    ended = story.until_it_ends(BAD[way])
    assert (ended.state, ended.live, ended.candidate, ended.weight_percent) == ("rolled_back", 1, None, 0)
    assert WORDS[way] in ended.reason
    assert "harm is certain" in ended.reason
    last = story.registry.releases.events("iris")[-1]
    assert (last.kind, last.from_, last.to, last.actor) == ("rolled_back", "2", "1", "driver")
    assert last.evidence["candidate.requests"] > 0
    assert verify_chain(story.registry.releases.events()) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_an_equal_candidate_is_promoted_step_by_step(tmp_path, seed):
    story = Story(str(tmp_path / "registry"), seed)
    story.registry.releases.begin("iris", 2, FAST, actor="ada")
    ended = story.until_it_ends(EQUAL)
    assert (ended.state, ended.live, ended.candidate) == ("live", 2, None)
    events = story.registry.releases.events("iris")
    assert [one.kind for one in events] == KINDS_TO_LIVE
    assert [one.to for one in events[2:]] == ["50 %", "100 %", "2"]
    times = [unix_time(one.at) for one in events[1:]]
    assert all(later - earlier >= FAST.hold_s for earlier, later in itertools.pairwise(times))


def test_a_shadow_is_never_promoted_by_itself_but_taken_back_where_it_disagrees(story):
    story.registry.releases.begin("iris", 2, SHADOW, actor="ada")
    for _ in range(15):
        assert story.second(EQUAL).state == "running"
    assert (
        take_snapshot(story.registry, WindowReader(story.registry), "iris", story.clock()).verdict.action
        == "promote"
    )
    ended = story.until_it_ends(Behaviour(agreement=0.5))
    assert ended.state == "rolled_back"
    assert "agreement" in ended.reason


def test_a_candidate_that_nobody_asks_is_taken_back_in_the_end(story):
    plan = Plan(mode="canary", hold_s=1, no_traffic_timeout_s=30)
    story.registry.releases.begin("iris", 2, plan, actor="ada")
    for _ in range(29):
        story.clock.now += 1
        assert story.driver.turn() == []
    story.clock.now += 1
    assert [one.state for one in story.driver.turn()] == ["rolled_back"]
    assert "no traffic" in story.registry.releases.current("iris").reason


def test_a_paused_release_stays_and_then_goes_on_from_its_step(story):
    story.registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
    story.driver.turn()
    at_50 = story.registry.releases.current("iris")
    stopped = apply(story.registry, at_50, paused(at_50, "ada", "lunch"))
    for _ in range(3):
        assert story.driver.turn() == []
    assert story.registry.releases.current("iris").weight_percent == 50
    apply(story.registry, stopped, resumed(stopped, "ada", ""))
    assert [one.weight_percent for one in story.driver.turn()] == [100]


def test_a_release_that_cannot_be_judged_is_paused_and_hinders_no_other(tmp_path):
    url = str(tmp_path / "registry")
    registry = two_versions(url)
    for bundle in (3, 4):
        registry.catalog.versions.add(rolling.new_version("zinnia", bundle), (), lambda: None)
    registry.releases.begin("zinnia", 1, actor="ada")
    unknown = Plan(mode="canary", gates={"max_sadness": 1.0})
    registry.releases.begin("iris", 2, unknown, actor="ada")
    registry.releases.begin("zinnia", 2, AT_ONCE, actor="ada")
    changed = driver_of(registry, "driver").turn()
    assert [(one.name, one.state) for one in changed] == [("iris", "paused"), ("zinnia", "running")]
    assert "cannot be judged" in changed[0].reason
    assert "max_sadness" in changed[0].reason


# Reading.


def test_reading_goes_on_from_where_it_was_and_misses_no_late_window(story):
    current = story.registry.releases.begin("iris", 2, FAST, actor="ada")
    reader = WindowReader(story.registry)
    for _ in range(5):
        story.second(EQUAL)
    first = reader.windows(current)
    story.crowd.second(current, story.clock.now - 60, EQUAL, EQUAL)  # a replica that was cut off a minute ago
    story.crowd.second(current, story.clock.now, EQUAL, EQUAL)
    assert len(reader.windows(current)) == len(first) + 4
    assert reader.windows(current) == story.registry.traffic.windows("iris", current.number)


def test_what_people_are_shown_adds_up(story):
    story.registry.releases.begin("iris", 2, Plan(mode="ab", steps=(25,)), actor="ada")
    for _ in range(12):
        story.second(Behaviour(p50_s=0.0024))
    seen = take_snapshot(story.registry, WindowReader(story.registry), "iris", story.clock())
    assert seen.live.requests + seen.candidate.requests == 12 * 2000
    assert seen.live.requests_per_s == pytest.approx(1500, rel=0.1)
    assert seen.candidate.latency_p50_s == pytest.approx(0.0024, rel=0.1)
    assert seen.live.latency_p50_s == pytest.approx(0.002, rel=0.1)
    assert (seen.live.share_percent, seen.candidate.share_percent) == (75, 25)
    assert seen.candidate.accuracy == pytest.approx(0.9, abs=0.05)
    assert sum(seen.live.outputs.values()) + seen.live.errors == seen.live.requests
    assert seen.driver == "driver"


# Kills and races.


def check(registry, *, ended: bool = True) -> None:
    """Check that no step was skipped or taken twice, and that the chain is whole."""
    events = registry.releases.events("iris")
    assert verify_chain(events) is None
    taken = [one.to for one in events if one.kind in ("step", "promoted")]
    assert taken == ["50 %", "100 %", "2"][: len(taken)]
    if ended:
        current = registry.releases.current("iris")
        assert (current.state, current.live, current.candidate) == ("live", 2, None)
        assert len(taken) == 3


def finish(registry, holder: str) -> None:
    """Have another driver go on until nothing is left to do."""
    driver = driver_of(registry, holder)
    while driver.turn():
        check(registry, ended=False)


@pytest.mark.slow
@pytest.mark.parametrize("error", [Killed, RegistryUnavailable])
def test_a_driver_that_ends_at_any_call_of_the_registry_is_gone_on_from(tmp_path, error):
    moment, reached = 0, True
    while reached:
        moment += 1
        registry = two_versions(str(tmp_path / str(moment)))
        registry.releases.begin("iris", 2, AT_ONCE, actor="ada")

        def fail(at: int, *, moment: int = moment) -> None:
            if at == moment:
                raise error("now")

        watched = ObservedRegistry(registry, fail)
        first = driver_of(watched, "first")
        try:
            while first.turn():
                pass
        except error:
            pass
        reached = watched.moments == moment
        check(registry, ended=False)
        registry.fleet.release_lease(LEASE, "first")  # it runs out by itself; nobody waits for it here
        finish(registry, "second")
        check(registry)
    assert moment > 16, "each of four turns makes at least four calls, but the last two"


@pytest.mark.slow
def test_a_driver_that_was_asleep_while_another_took_over_does_nothing_twice(tmp_path):
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

        watched = ObservedRegistry(registry, take_over)
        first = driver_of(watched, "first")
        for _ in range(6):
            first.turn()
            check(registry, ended=False)
        check(registry)
        reached = watched.moments >= moment
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
def test_whatever_drivers_kills_and_people_do_no_step_is_skipped_or_taken_twice(tmp_path_factory, actions):
    registry = two_versions(str(tmp_path_factory.mktemp("registry")))
    registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
    seen = registry.releases.current("iris")
    for action, detail in actions:
        if action == "turn":
            driver_of(registry, detail).turn()
            registry.fleet.release_lease(LEASE, detail)
        elif action == "kill":
            die_in_a_turn(registry, detail)
        else:
            seen = by_hand(registry, seen, action, stale=detail)
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


def by_hand(registry, seen: Release, action: str, *, stale: bool) -> Release:
    """Do as a person does who looked just now, or some time ago; what is refused changes nothing."""
    looked = seen if stale else registry.releases.current("iris")
    before = registry.releases.current("iris")
    move = {"pause": paused, "resume": resumed, "promote": promoted}[action]
    try:
        return apply(registry, looked, move(looked, "ada", ""))
    except (StaleRelease, UsageError):
        assert registry.releases.current("iris") == before
        return looked


@pytest.mark.slow
def test_a_driver_killed_before_any_call_that_touches_the_disk_is_gone_on_from(tmp_path):
    processes = multiprocessing.get_context("spawn")
    results = processes.Queue()
    child = processes.Process(target=rolling.die_at_each_moment, args=(str(tmp_path), results))
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
    assert moments > 100 / rolling.EVERY_NTH


@pytest.mark.slow
def test_a_killed_leader_is_replaced_within_ten_seconds(tmp_path):
    url = str(tmp_path / "registry")
    registry = two_versions(url)
    processes = multiprocessing.get_context("spawn")
    drivers = {name: processes.Process(target=rolling.drive, args=(url, name)) for name in ("a", "b")}
    for process in drivers.values():
        process.start()
    try:
        wait_until(lambda: registry.fleet.lease_holder(LEASE) is not None, 30)
        leader = registry.fleet.lease_holder(LEASE)
        other = "b" if leader == "a" else "a"
        time.sleep(2)  # the other one has to have started as well
        os.kill(drivers[leader].pid, signal.SIGKILL)
        killed = time.monotonic()
        registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
        wait_until(lambda: len(registry.releases.events("iris")) > 2, 10)
        assert time.monotonic() - killed < 10
        assert registry.fleet.lease_holder(LEASE) == other
        wait_until(lambda: not registry.releases.current("iris").is_open, 10)
        check(registry)
        assert {one.actor for one in registry.releases.events("iris")[2:]} == {other}
    finally:
        for process in drivers.values():
            process.kill()
            process.join(10)


def test_a_driver_waits_for_a_catalog_that_is_away_and_gives_the_lease_back(tmp_path):
    registry = two_versions(str(tmp_path / "registry"))
    registry.releases.begin("iris", 2, AT_ONCE, actor="ada")

    def away(at: int) -> None:
        if at <= 5:
            raise RegistryUnavailable("the catalog")

    stop = threading.Event()
    driver = driver_of(ObservedRegistry(registry, away), "driver", interval_s=0.01)
    thread = threading.Thread(target=driver.run, args=(stop,))
    thread.start()
    wait_until(lambda: not registry.releases.current("iris").is_open, 10)
    assert registry.fleet.lease_holder(LEASE) == "driver"
    stop.set()
    thread.join(10)
    assert registry.fleet.lease_holder(LEASE) is None
    check(registry)


def test_one_holds_the_lease_at_a_time(tmp_path):
    url = str(tmp_path / "registry")
    first, second = two_versions(url), rows_at(url)
    first.releases.begin("iris", 2, AT_ONCE, actor="ada")
    leading, waiting = driver_of(first, "first"), driver_of(second, "second")
    assert [one.weight_percent for one in leading.turn()] == [50]
    assert waiting.turn() == []
    assert first.fleet.lease_holder(LEASE) == second.fleet.lease_holder(LEASE) == "first"
    first.fleet.release_lease(LEASE, "first")
    assert [one.weight_percent for one in waiting.turn()] == [100]
