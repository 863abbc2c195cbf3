"""The monitor's driver over a real catalog: windows in, alarms out, once, whatever is killed when."""

from __future__ import annotations

import threading

import msgspec
import pytest

from lading.alarms import Baseline
from lading.errors import RegistryUnavailable
from lading.monitor.alert_rules import AlertRules, Route
from lading.monitor.alerting import Alerting
from lading.monitor.alerts import AlertRule
from lading.monitor.driver import LEASE, MonitorDriver
from lading.registry.open import open_catalog
from lading.traffic import FeedbackCounts, Window
from support.live_columns import BEGIN, DIGEST, HOUR_S, reference, report, window
from support.registries import registry_over
from support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def registry(tmp_path):
    catalog = open_catalog(str(tmp_path / "registry"))
    yield registry_over(catalog)
    catalog.close()


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


def hours(profile, count: int, *, begin: int = 0, shift: float = 0.0, **changes):
    """Return a window for each of `count` hours after `BEGIN`, from hour `begin` on."""
    return [
        window(profile, BEGIN + HOUR_S * hour, hour, shift=shift, **changes)
        for hour in range(begin, begin + count)
    ]


def driver_of(registry, clock, name: str = "a", **changes) -> MonitorDriver:
    """Return a driver that tests once for each hour."""
    return MonitorDriver(registry, name, clock=clock, slot_s=HOUR_S, **changes)


def test_rows_like_the_reference_raise_no_alarm(registry):
    clock, profile = Clock(), reference()
    driver = driver_of(registry, clock)
    report(registry, profile, hours(profile, 120))
    clock.now += HOUR_S * 125
    assert driver.turn() == []
    assert registry.monitoring.alarms() == []


def test_a_shift_raises_one_alarm_that_names_column_begin_release_and_change(registry):
    clock, profile = Clock(), reference()
    driver = driver_of(registry, clock)
    report(registry, profile, [*hours(profile, 72), *hours(profile, 48, begin=72, shift=1.5)])
    clock.now += HOUR_S * 125
    (alarm,) = driver.turn()
    assert (alarm.kind, alarm.subject, alarm.release, alarm.version) == ("drift", "age", 1, 1)
    assert abs(alarm.began_at - (BEGIN + HOUR_S * 72)) <= 5 * HOUR_S
    assert BEGIN + HOUR_S * 72 < alarm.raised_at <= BEGIN + HOUR_S * 96
    assert "`age`" in alarm.text
    assert "higher by" in alarm.text
    assert registry.monitoring.alarms("iris", open_only=True) == [alarm]
    report(registry, profile, hours(profile, 10, begin=120, shift=1.5))
    clock.now += HOUR_S * 10
    assert driver.turn() == []


def test_batch_runs_are_counted_for_a_year_and_their_alarms_end_after_a_week(registry):
    clock, profile, month_s = Clock(), reference(), 30 * 24 * HOUR_S

    def run(number: int) -> list:
        at = BEGIN + number * month_s
        shifted = window(profile, at, number, rows=2000, shift=2.0, replica="batch")
        report(registry, profile, [shifted])
        # Each time another process, which has nothing but what is stored.
        driver = driver_of(registry, clock, f"process {number}")
        clock.now = at + HOUR_S
        raised = driver.turn()
        clock.now = at + 8 * 24 * HOUR_S
        (over,) = driver.turn()
        driver._end()
        assert (over.subject, over.is_open) == ("age", False)
        return raised

    for number in range(3):
        (alarm,) = run(number)
        assert alarm.text.endswith("in a batch run of 20,000 rows")
        (body,) = (each for key, each in registry.monitoring.states("monitor").items() if key != "mark")
        assert msgspec.json.decode(body)["runs"] == number + 1
    clock.now += 500 * 24 * HOUR_S
    driver_of(registry, clock, "later").turn()
    assert set(registry.monitoring.states("monitor")) == {"mark"}


def test_one_that_was_killed_is_followed_by_one_that_concludes_the_same(registry):
    profile = reference()
    windows = [*hours(profile, 72), *hours(profile, 24, begin=72, shift=1.5)]
    report(registry, profile, windows)
    whole = Clock()
    whole.now += HOUR_S * 95
    (expected,) = driver_of(registry, whole, "whole").turn()
    registry.fleet.release_lease(LEASE, "whole")
    registry.monitoring.save("monitor", {}, list(registry.monitoring.states("monitor")))
    alarms = []
    for number, hour in enumerate(range(0, 96, 5)):
        # A new process each time, which has only what the last one stored; every third dies unsaved.
        clock = Clock()
        clock.now += HOUR_S * hour
        driver = driver_of(registry, clock, f"driver {number}")
        alarms += driver.turn()
        if number % 3 != 2:
            stopped = threading.Event()
            stopped.set()
            driver.run(stopped)
        registry.fleet.release_lease(LEASE, f"driver {number}")
    (alarm,) = alarms
    same = msgspec.structs.replace(alarm, id=expected.id, text=expected.text, value=expected.value)
    assert same == expected


def test_one_process_at_a_time_tests(registry):
    clock, profile = Clock(), reference()
    report(registry, profile, hours(profile, 60, shift=4.0))
    clock.now += HOUR_S * 65
    first, second = (driver_of(registry, clock, name) for name in "ab")
    assert len(first.turn()) == 1
    assert second.turn() == []
    registry.fleet.release_lease(LEASE, "a")
    assert second.turn() == []
    assert len(registry.monitoring.alarms()) == 1


def test_an_alarm_ends_when_the_column_has_been_as_before_for_long(registry):
    clock, profile = Clock(), reference()
    driver = driver_of(registry, clock)
    report(registry, profile, hours(profile, 60, shift=4.0))
    clock.now = BEGIN + HOUR_S * 62
    (raised,) = driver.turn()
    report(registry, profile, hours(profile, 100, begin=60, rows=600))
    clock.now = BEGIN + HOUR_S * 162
    (ended,) = driver.turn()
    assert ended.id == raised.id
    assert not ended.is_open
    assert BEGIN + HOUR_S * 62 < ended.ended_at < BEGIN + HOUR_S * 120
    assert registry.monitoring.alarms(open_only=True) == []


def test_windows_of_replicas_add_up_and_late_ones_count_later(registry):
    clock, profile = Clock(), reference()
    driver = driver_of(registry, clock)
    for hour in range(30):
        rows = [
            window(profile, BEGIN + HOUR_S * hour, hour, rows=50, replica=replica, id=f"{hour} {replica}")
            for replica in ("one", "two")
        ]
        report(registry, profile, rows)
    clock.now = BEGIN + HOUR_S * 40
    driver.turn()
    (series,) = driver._series.values()
    assert series.state.tests["age"].windows == 30
    report(registry, profile, [window(profile, BEGIN, 99, rows=50, id="late")])
    driver.turn()
    assert series.state.tests["age"].windows == 31


def test_two_versions_are_tested_each_against_its_own_reference(registry):
    clock, profile, other = Clock(), reference(), reference(3000)
    driver = driver_of(registry, clock)
    candidate = DIGEST.replace("1", "2")
    report(registry, profile, hours(profile, 40))
    report(registry, other, [*hours(other, 40, shift=4.0, version=2, digest=candidate)])
    clock.now += HOUR_S * 50
    report(registry, other, [])
    (alarm,) = driver.turn()
    assert (alarm.version, alarm.digest) == (2, candidate)


def test_worse_answers_raise_an_alarm_of_decay_by_the_labels_that_came(registry):
    clock, profile = Clock(), reference(labelled=True)
    driver = driver_of(registry, clock)
    for hour in range(240):
        right = 45 if hour < 120 else 25
        feedback = Window(
            name="iris",
            release=1,
            version=1,
            digest=DIGEST,
            replica="replica-1",
            at=BEGIN + HOUR_S * hour,
            seconds=60.0,
            feedback=FeedbackCounts(right=right, wrong=60 - right),
            id=f"feedback {hour}",
        )
        registry.traffic.add_windows([feedback])
        report(registry, profile, hours(profile, 1, begin=hour))
        clock.now = BEGIN + HOUR_S * hour + 60
        driver.turn()
    alarms = [alarm for alarm in registry.monitoring.alarms() if alarm.kind == "decay"]
    (alarm,) = alarms
    assert "accuracy over labelled rows" in alarm.text
    assert alarm.began_at >= BEGIN + HOUR_S * 100


def test_what_is_shown_in_metrics_is_of_the_version_asked_last(registry):
    clock, profile, turns = Clock(), reference(), []
    driver = driver_of(registry, clock, report=lambda *turn: turns.append(turn))
    report(registry, profile, hours(profile, 60, shift=4.0))
    clock.now += HOUR_S * 65
    driver.turn()
    leading, drift, alarms = turns[-1]
    assert leading
    assert drift["iris"]["age"] > 0.2 > drift["iris"]["income"]
    assert alarms == {("iris", "drift"): 1}


def test_rows_that_fail_a_check_raise_an_alarm_that_people_are_notified_of_and_that_ends(registry, caplog):
    clock, profile = Clock(), reference()
    rules = AlertRules(
        rules=(AlertRule(name="checks", when=("input-checks",), route="here"),),
        routes={"here": Route(name="here", log=True)},
    )
    driver = driver_of(registry, clock, alerting=Alerting(registry, rules, clock=clock))
    failing = {"checked": 3000, "failures": (("age", "range", 90),)}
    report(registry, profile, [*hours(profile, 3), *hours(profile, 2, begin=3, **failing)])
    clock.now = BEGIN + HOUR_S * 5.1
    (alarm,) = driver.turn()
    assert (alarm.kind, alarm.subject, alarm.began_at) == ("input-checks", "age: range", BEGIN + 3 * HOUR_S)
    wait_until(lambda: "fail this input check" in caplog.text and "checks" in caplog.text)
    report(registry, profile, hours(profile, 6, begin=5, checked=3000))
    clock.now = BEGIN + HOUR_S * 11.1
    (ended,) = driver.turn()
    assert ended.id == alarm.id
    assert not ended.is_open
    stopped = threading.Event()
    stopped.set()
    driver.run(stopped)
    assert registry.monitoring.alarms(open_only=True) == []


def test_a_season_is_compared_with_the_same_hours_of_former_weeks(registry):
    clock, profile = Clock(), reference()
    driver = driver_of(registry, clock)
    registry.monitoring.set_baseline(
        Baseline(name="iris", profile="", set_at=0.0, set_by="ann", text="", same_hours=True)
    )
    # Three weeks in which every night is far from the reference, then a night that is not like the others.
    for hour in range(3 * 168 + 12):
        night = hour % 24 >= 12
        shift = 1.5 if night else 0.0
        report(registry, profile, hours(profile, 1, begin=hour, rows=300, shift=shift))
        if hour % 24 == 23:
            clock.now = BEGIN + HOUR_S * (hour + 1) + 60
            driver.turn()
    assert {alarm.subject for alarm in registry.monitoring.alarms()} <= {"age"}
    compared = driver._same_hours(next(iter(driver._series.values())), BEGIN + 2 * 7 * 86400 + 15 * HOUR_S)
    assert compared is not None
    at = [column.name for column in profile.columns()].index("age")
    assert sum(compared[at]) == 600
    assert compared[at][-1] > 120  # Of a night of those weeks, most rows are in the highest bins.
    assert driver._same_hours(next(iter(driver._series.values())), BEGIN + 5 * HOUR_S) is None


def test_an_alarm_whose_turn_fails_before_it_is_stored_is_raised_again(registry, monkeypatch):
    clock, profile = Clock(), reference()
    report(registry, profile, hours(profile, 60, shift=4.0))
    clock.now += HOUR_S * 65
    driver = driver_of(registry, clock)

    def unreachable(*_arguments) -> None:
        raise RegistryUnavailable("catalog", expected="an answer", found="none")

    with monkeypatch.context() as patch:
        # The catalog goes away between reading and storing, which no real one does at will.
        patch.setattr(registry.monitoring, "save", unreachable)
        with pytest.raises(RegistryUnavailable):
            driver.turn()
    assert registry.monitoring.alarms() == []
    (alarm,) = driver.turn()
    assert registry.monitoring.alarms() == [alarm]


def test_an_alarm_ends_when_the_model_is_compared_with_something_else(registry):
    clock, profile, other = Clock(), reference(), reference(3000)
    driver = driver_of(registry, clock)
    report(registry, profile, hours(profile, 60, shift=4.0))
    clock.now = BEGIN + HOUR_S * 62
    (raised,) = driver.turn()
    report(registry, other, hours(other, 4, begin=60, version=2))
    clock.now = BEGIN + HOUR_S * 66
    (ended,) = driver.turn()
    assert ended.id == raised.id
    assert registry.monitoring.alarms(open_only=True) == []
