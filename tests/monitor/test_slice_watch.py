"""Slices of a live version, watched by the labels in a log: each counts once, whatever fails when."""

from __future__ import annotations

import logging
import shutil
import threading

import msgspec
import numpy as np
import pytest

from lading.errors import RegistryUnavailable
from lading.monitor.alert_rules import AlertRules
from lading.monitor.driver import LEASE, MonitorDriver
from lading.monitor.slice_tests import HOUR_S, SliceTests, add_hour, key_of, read_tests
from lading.monitor.slice_watch import GRACE_S, SliceWatch
from lading.monitor.snapshot import snapshot
from lading.registry import Registry
from support.live_columns import reference, report, window
from support.recorded_evidence import push_proved
from support.sliced_models import SlicedLog, sliced_bundle
from support.waiting import wait_until

pytestmark = pytest.mark.slow

BEGIN = 1_796_040_000.0 // HOUR_S * HOUR_S
ROWS = 80


@pytest.fixture
def registry(tmp_path):
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


@pytest.fixture
def bundle(tmp_path, registry):
    """Release a version with the slice `region`; return its bundle."""
    bundle = sliced_bundle(tmp_path / "sliced")
    push_proved(registry, bundle)
    registry.releases.begin("iris", 1, actor="ann")
    return bundle


@pytest.fixture
def log(tmp_path, bundle):
    return SlicedLog(tmp_path / "log", bundle)


class Driver:
    """A driver of the monitor whose clock the test moves."""

    def __init__(self, registry, log_url, name: str = "a", *, wait_s: float = 120.0) -> None:
        self.now = BEGIN
        self.turns: list[tuple] = []
        watch = SliceWatch(registry, str(log_url), wait_s=wait_s, retry_s=0.1)
        self.driver = MonitorDriver(
            registry,
            name,
            clock=lambda: self.now,
            slices=watch,
            report=lambda *turn: self.turns.append(turn),
        )

    def turn_after(self, hours: float):
        """Take a turn when so many hours since the beginning are over, and counted."""
        self.now = BEGIN + hours * HOUR_S + GRACE_S
        return self.driver.turn()


def states(registry) -> dict[str, str]:
    return registry.monitoring.states("monitor")


def stored(registry, bundle) -> SliceTests:
    return read_tests(states(registry)[key_of("iris", bundle.digest)])


def counted(tests: SliceTests) -> int:
    """Return how many labelled rows are in the tests."""
    return sum(
        each.baseline_wrong + each.baseline_right + (each.test.wrong + each.test.right if each.test else 0)
        for each in tests.slices.values()
    )


def test_a_region_that_goes_bad_raises_one_alarm_that_names_it(registry, bundle, log, tmp_path):
    for hour in range(60):
        log.hour(BEGIN + HOUR_S * hour, 800, hour, {"north": 0.2} if hour >= 40 else None)
    log.close()
    driver = Driver(registry, tmp_path / "log")
    assert driver.turn_after(0) == []
    (alarm,) = driver.turn_after(60)
    assert (alarm.kind, alarm.subject, alarm.version, alarm.release) == ("slice", "region = north", 1, 1)
    assert abs(alarm.began_at - (BEGIN + 40 * HOUR_S)) <= 5 * HOUR_S
    assert "where `region = north`" in alarm.text
    assert registry.monitoring.alarms("iris", open_only=True) == [alarm]
    assert driver.turns[-1][2] == {("iris", "slice"): 1}
    assert set(stored(registry, bundle).slices) == {
        f"region = {name}" for name in ("north", "south", "east", "west")
    }
    assert "region = north" in str(snapshot(registry, "iris", BEGIN, BEGIN + 80 * HOUR_S).alarms)
    # It ends as that of all rows does: with the version.
    push_proved(registry, sliced_bundle(tmp_path / "second", slices=("amount",)))
    registry.releases.begin("iris", 2, actor="ann", force=True)
    (ended,) = driver.turn_after(61)
    assert (ended.id, ended.is_open) == (alarm.id, False)
    assert key_of("iris", bundle.digest) not in states(registry)


def test_every_label_is_counted_once_however_late_and_whichever_driver_leads(
    registry, bundle, log, tmp_path, monkeypatch
):
    random, total = np.random.default_rng(0), set()
    for hour in range(8):
        ids, _, answers = log.add(BEGIN + HOUR_S * hour, ROWS, hour)
        for _ in range(2):  # Some come twice, in other hours: the first counts.
            chosen = random.permutation(ROWS)[: ROWS // 2]
            at = BEGIN + HOUR_S * (hour + int(random.integers(0, 6))) + 1800
            log.label(
                [ids[each] for each in chosen], answers["label"][chosen], np.ones(len(chosen), bool), at
            )
            total |= {ids[each] for each in chosen}
    log.close()
    Driver(registry, tmp_path / "log").turn_after(0)
    registry.fleet.release_lease(LEASE, "a")

    for number, hour in enumerate(range(1, 15)):
        driver = Driver(registry, tmp_path / "log", f"driver {number}")
        if number % 3 == 1:
            with monkeypatch.context() as patch:
                patch.setattr(registry.monitoring, "save", unreachable)
                with pytest.raises(RegistryUnavailable):
                    driver.turn_after(hour)
        driver.turn_after(hour if number % 3 else max(0, hour - 1))
        registry.fleet.release_lease(LEASE, f"driver {number}")
    Driver(registry, tmp_path / "log", "last").turn_after(14)
    assert stored(registry, bundle).counted_until == BEGIN + 14 * HOUR_S
    assert counted(stored(registry, bundle)) == len(total)


def unreachable(*_arguments) -> None:
    """Fail as a catalog does that goes away between counting and storing, which no real one does at will."""
    raise RegistryUnavailable("catalog", expected="an answer", found="none")


def test_an_alarm_whose_turn_fails_before_it_is_stored_is_raised_again(
    registry, bundle, log, tmp_path, monkeypatch
):
    tests = SliceTests("iris", 1, bundle.digest, 1, BEGIN - 60 * HOUR_S)
    for _ in range(60):
        add_hour(tests, {"region = north": (10, 90), "region = south": (10, 90)}, 0.01)
    registry.monitoring.save("monitor", {tests.key: msgspec.json.encode(tests).decode()})
    for hour in range(8):
        log.hour(BEGIN + HOUR_S * hour, 800, hour, {"north": 0.1})
    log.close()
    driver = Driver(registry, tmp_path / "log")
    with monkeypatch.context() as patch:
        patch.setattr(registry.monitoring, "save", unreachable)
        with pytest.raises(RegistryUnavailable):
            driver.turn_after(8)
    assert registry.monitoring.alarms() == []
    (alarm,) = driver.turn_after(8)
    assert alarm.subject == "region = north"
    assert registry.monitoring.alarms() == [alarm]


def test_what_a_driver_has_read_before_another_one_led_is_not_counted(registry, bundle, log, tmp_path):
    log.hour(BEGIN, ROWS, 0)
    log.close()
    slow, other = Driver(registry, tmp_path / "log", wait_s=0.0), Driver(registry, tmp_path / "log", "b")
    wait_until(lambda: not slow.turn_after(0) and key_of("iris", bundle.digest) in states(registry))
    slow.turn_after(1)  # Begins to read, and hardly ever takes anything yet.
    registry.fleet.release_lease(LEASE, "a")
    other.turn_after(1)
    assert counted(stored(registry, bundle)) == ROWS
    slow.turn_after(1)  # Sees that it does not lead.
    registry.fleet.release_lease(LEASE, "b")
    wait_until(lambda: "slices" not in [thread.name for thread in threading.enumerate()])
    slow.turn_after(1)
    assert counted(stored(registry, bundle)) == ROWS


def test_labels_of_before_the_first_look_are_not_counted(registry, bundle, log, tmp_path):
    for hour in range(3):
        log.hour(BEGIN + HOUR_S * hour, ROWS, hour)
    log.close()
    driver = Driver(registry, tmp_path / "log")
    driver.turn_after(2)
    assert counted(stored(registry, bundle)) == 0
    driver.turn_after(2.9)
    assert counted(stored(registry, bundle)) == 0
    driver.turn_after(3)
    assert counted(stored(registry, bundle)) == ROWS


def test_a_log_that_cannot_be_read_is_said_once_and_caught_up_with(registry, bundle, log, tmp_path, caplog):
    caplog.set_level(logging.INFO, "lading.monitor")
    for hour in range(2):
        log.hour(BEGIN + HOUR_S * hour, ROWS, hour)
    log.close()
    away = (tmp_path / "log").rename(tmp_path / "away")
    driver = Driver(registry, tmp_path / "log")
    for hour in (0, 0, 1, 1, 2):
        driver.turn_after(hour)
    lines = [record.message for record in caplog.records if "are not tested" in record.message]
    assert len(lines) == 1
    assert "expected a log, found none" in lines[0]
    assert "expected a log" in stored(registry, bundle).unread
    profile = reference()
    report(registry, profile, [window(profile, BEGIN, 0, digest=bundle.digest)])
    (text,) = [text for text in snapshot(registry, "iris", BEGIN, BEGIN + 100).unknown if "slice" in text]
    assert text.startswith("decay by slice is not tested: prediction log ")
    shutil.move(away, tmp_path / "log")
    wait_until(lambda: not driver.turn_after(2) and counted(stored(registry, bundle)) == 2 * ROWS)
    assert stored(registry, bundle).unread == ""
    assert any("are tested again" in record.message for record in caplog.records)


def test_a_log_that_did_not_exist_yet_is_found_within_the_hour(registry, bundle, log, tmp_path):
    driver = Driver(registry, tmp_path / "later")
    driver.turn_after(0)
    assert stored(registry, bundle).unread
    log.hour(BEGIN, ROWS, 0)
    log.close()
    (tmp_path / "log").rename(tmp_path / "later")
    wait_until(lambda: not driver.turn_after(0.2) and stored(registry, bundle).unread == "")
    assert counted(stored(registry, bundle)) == 0
    driver.turn_after(1)
    assert counted(stored(registry, bundle)) == ROWS


def test_a_damaged_file_of_the_log_keeps_no_other_test_from_going_on(registry, bundle, log, tmp_path):
    for hour in range(2):
        log.hour(BEGIN + HOUR_S * hour, ROWS, hour)
    log.close()
    (path,) = (tmp_path / "log" / "labels").rglob("hour=12/*.parquet")
    path.write_bytes(b"damaged")
    driver = Driver(registry, tmp_path / "log")
    driver.turn_after(0)
    profile = reference()
    report(registry, profile, [window(profile, BEGIN, 0, name="wine", shift=4.0)])
    driver.turn_after(2)
    assert "expected files that DuckDB reads" in stored(registry, bundle).unread
    assert driver.turns[-1][1]["wine"]["age"] > 0.2


def test_a_turn_does_not_wait_for_a_log_that_takes_long_to_read(registry, bundle, log, tmp_path):
    log.hour(BEGIN, ROWS, 0)
    log.close()
    driver = Driver(registry, tmp_path / "log", wait_s=0.0)
    driver.turn_after(0)
    wait_until(lambda: not driver.turn_after(0) and key_of("iris", bundle.digest) in states(registry))
    driver.turn_after(1)  # The read has only begun.
    wait_until(lambda: not driver.turn_after(1) and counted(stored(registry, bundle)) == ROWS)


def test_a_version_without_slices_is_not_watched(registry, tmp_path):
    push_proved(registry, sliced_bundle(tmp_path / "plain", slices=()))
    registry.releases.begin("iris", 1, actor="ann")
    driver = Driver(registry, tmp_path / "log")
    driver.turn_after(0)
    assert [key for key in states(registry) if key.startswith("slices ")] == []


def test_of_a_bundle_that_cannot_be_read_nothing_is_stored_until_it_can(registry, bundle, log, tmp_path):
    log.hour(BEGIN, ROWS, 0)
    log.close()
    blobs = tmp_path / "registry" / "blobs"
    away = blobs.rename(tmp_path / "blobs")
    driver = Driver(registry, tmp_path / "log")
    driver.turn_after(0)
    assert key_of("iris", bundle.digest) not in states(registry)
    away.rename(blobs)
    wait_until(lambda: not driver.turn_after(0) and key_of("iris", bundle.digest) in states(registry))
    assert stored(registry, bundle).unread == ""


def test_a_rule_about_slices_is_accepted():
    text = '[[alert]]\nname = "a"\nwhen = "slice"\nroute = "here"\n[route.here]\nlog = true\n'
    assert AlertRules.parse(text).rules[0].when == ("slice",)
