"""How long a canary will take: against simulated rollouts, and at rates that are too low."""

from __future__ import annotations

import msgspec
import pytest

from lading.release import Plan, Release
from lading.rollout import WindowReader
from lading.rollout.estimate import LONGEST_S, PAIRS_PER_S, Estimator, estimate, forecast, outlook
from lading.rollout.evidence import assess
from lading.rollout.snapshot import take_snapshot
from lading.server.observe.shadow import PAIR_EVERY_S
from support.live_windows import START, windows
from support.rollout_processes import driver_of, two_versions
from support.simulated_rollout import SimulatedRollout
from support.simulated_traffic import BAD, EQUAL, Clock, Crowd

PLAN = Plan(mode="canary", steps=(20, 50, 100), hold_s=3, min_requests=500)


def live_windows(rate: float) -> list:
    return windows(1, rate, seconds=600, rated=0.0)


def begun(rollout: SimulatedRollout) -> tuple[Release, float]:
    """Begin a canary, and let the first seconds of its traffic pass without a driver."""
    release = rollout.begin(PLAN)
    for _ in range(6):
        rollout.crowd.second(release, rollout.clock.now, EQUAL, EQUAL)
        rollout.clock.now += 1
    return release, rollout.clock.now


@pytest.fixture
def rollout(tmp_path) -> SimulatedRollout:
    return SimulatedRollout(str(tmp_path / "registry"))


@pytest.mark.slow
def test_a_forecast_is_about_what_a_canary_of_an_equal_version_takes(tmp_path):
    clock = Clock()
    registry = two_versions(str(tmp_path / "registry"), clock=clock)
    crowd, driver = Crowd(registry, 3, requests=300), driver_of(registry, "driver", clock=clock)
    before = registry.releases.current("iris")
    for _ in range(60):
        crowd.second(before, clock.now, EQUAL, EQUAL)
        clock.now += 1
    expected = forecast(PLAN, registry.traffic.windows("iris", before.number), clock.now, clock.now - 60)
    assert expected.requests_per_s == pytest.approx(300, rel=0.05)
    began = clock.now
    registry.releases.begin("iris", 2, PLAN, actor="ada")
    while (release := registry.releases.current("iris")).is_open:
        crowd.second(release, clock.now, EQUAL, EQUAL)
        clock.now += 1
        driver.turn()
        assert clock.now - began < 4000
    assert release.live == 2, release.reason
    took_s = clock.now - began
    assert expected.live_s is not None
    assert took_s / 2.5 <= expected.live_s <= took_s * 2.5, (took_s, expected)


@pytest.mark.slow
def test_a_canary_that_has_begun_needs_less_than_one_that_begins(rollout):
    release, now = begun(rollout)
    rows = WindowReader(rollout.registry).windows(release)
    early = estimate(release, rows, now)
    assert early.requests_per_s == pytest.approx(2000, rel=0.05)
    whole = forecast(PLAN, [window for window in rows if window.version == 1], now, now - 6)
    assert early.step_s < whole.step_s
    assert early.step_s < early.live_s


@pytest.mark.parametrize("share", [1, 5])
def test_a_rate_that_cannot_reach_the_evidence_within_a_day_is_reported_as_such(share):
    plan = Plan(mode="canary", steps=(share, 100))
    slow = forecast(plan, live_windows(0.05), START + 600, START)
    assert slow.requests_per_s > 0
    assert (slow.step_s, slow.live_s) == (None, None)
    quick = forecast(plan, live_windows(500), START + 600, START)
    assert quick.live_s is not None
    assert plan.hold_s * 2 <= quick.live_s <= LONGEST_S


def test_the_minimum_of_requests_counts_as_well_as_the_evidence():
    plan = Plan(mode="canary", steps=(50,), min_requests=100_000)
    expected = forecast(plan, live_windows(20), START + 600, START)
    assert expected.step_s == pytest.approx(100_000 / 10, rel=0.25)


def test_a_rare_candidate_is_not_taken_for_one_without_traffic():
    plan = Plan(mode="canary", steps=(5, 100), no_traffic_timeout_s=10)
    assert forecast(plan, live_windows(100), START + 600, START).live_s is not None


def test_without_traffic_no_time_is_stated(rollout):
    assert forecast(PLAN, [], START, START - 600).requests_per_s == 0
    silent = estimate(rollout.begin(PLAN), [], rollout.clock() + 30)
    assert (silent.requests_per_s, silent.live_s) == (0, None)


def test_only_a_running_release_is_estimated_and_not_in_its_first_seconds(rollout):
    release, now = begun(rollout)
    rows = WindowReader(rollout.registry).windows(release)
    assert estimate(release, rows, now) is not None
    assert estimate(msgspec.structs.replace(release, state="paused"), rows, now) is None
    assert estimate(release, rows, now - 4) is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["shadow", "ab"])
def test_the_evidence_of_a_release_that_a_person_decides_comes_about_when_it_was_estimated(tmp_path, mode):
    clock, plan = Clock(), Plan(mode=mode, hold_s=3, min_requests=500)
    registry = two_versions(str(tmp_path / "registry"), clock=clock)
    crowd, before = Crowd(registry, 3, requests=40), registry.releases.current("iris")
    for _ in range(60):
        crowd.second(before, clock.now, EQUAL, EQUAL)
        clock.now += 1
    rows = registry.traffic.windows("iris", before.number)
    expected = outlook(plan, rows, clock.now, clock.now - 60)
    assert expected.requests_per_s == pytest.approx(40, rel=0.05)
    assert (expected.live_s, expected.larger) == (None, None)
    began, early = clock.now, None
    registry.releases.begin("iris", 2, plan, actor="ada")
    release, reader = registry.releases.current("iris"), WindowReader(registry)
    while assess(release, rows := reader.windows(release), clock.now).action != "promote":
        crowd.second(release, clock.now, EQUAL, EQUAL)
        clock.now += 1
        early = early or estimate(release, rows, clock.now)
        assert clock.now - began < 4000
    took_s = clock.now - began
    assert early.requests_per_s == pytest.approx(40, rel=0.25)
    for known in (expected, early):
        assert took_s / 2.5 <= known.step_s <= took_s * 2.5, (took_s, known)
    done = estimate(release, rows, clock.now)
    assert (done.step_s, done.live_s) == (0, None)


def test_nobody_rates_copies_so_a_shadow_judged_by_accuracy_has_no_end():
    plan = Plan(mode="shadow", gates={"max_accuracy_drop": 0.05})
    live = windows(1, 100, seconds=600, rated=0.5)
    assert forecast(plan, live, START + 600, START).step_s is None
    assert forecast(Plan(mode="shadow"), live, START + 600, START).step_s is not None


def test_a_larger_first_step_is_named_where_it_would_do():
    too_small = outlook(Plan(mode="canary", steps=(1, 50, 100)), live_windows(0.3), START + 600, START)
    assert too_small.step_s is None
    assert too_small.larger.percent > 1
    assert too_small.larger.live_s <= LONGEST_S


def test_a_candidate_that_will_be_rolled_back_is_given_no_time(rollout):
    release = rollout.begin(PLAN)
    for _ in range(6):
        rollout.crowd.second(release, rollout.clock.now, EQUAL, BAD["failing"])
        rollout.clock.now += 1
    harmful = estimate(release, WindowReader(rollout.registry).windows(release), rollout.clock())
    assert harmful.harmful
    assert harmful.live_s is None


def test_a_watched_release_is_estimated_seldom_and_counted_down(rollout):
    _, now = begun(rollout)
    estimator, reader = Estimator(share=1e-6), WindowReader(rollout.registry)
    first = take_snapshot(rollout.registry, reader, "iris", now, estimator).estimate
    second = take_snapshot(rollout.registry, reader, "iris", now + 1, estimator).estimate
    assert second.live_s == pytest.approx(first.live_s - 1)
    assert second.requests_per_s == first.requests_per_s
    assert take_snapshot(rollout.registry, reader, "iris", now).estimate is None


def test_pairs_are_expected_as_often_as_a_server_makes_them():
    assert pytest.approx(1 / PAIR_EVERY_S) == PAIRS_PER_S
