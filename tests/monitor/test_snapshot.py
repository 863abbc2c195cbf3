"""What is known of a model: of which version, of which rows, what alarms, and what cannot be said."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from lading.alarms import Alarm
from lading.errors import ModelNotFound
from lading.monitor.driver import LEASE, MonitorDriver
from lading.monitor.snapshot import snapshot, thinned, thinned_snapshot
from lading.registry.open import open_catalog
from lading.registry.records import NewVersion
from support.live_columns import BEGIN, DIGEST, HOUR_S, reference, report, window
from support.registries import registry_over

OTHER = DIGEST.replace("1", "2")
UNTIL = BEGIN + 24 * HOUR_S
ALARM = Alarm(
    id="open",
    name="iris",
    version=1,
    digest=DIGEST,
    release=1,
    kind="drift",
    subject="age",
    began_at=BEGIN,
    raised_at=BEGIN + HOUR_S,
    value=0.5,
    text="`age` is higher",
)


@pytest.fixture
def registry(tmp_path):
    catalog = open_catalog(str(tmp_path / "registry"))
    for digest in (DIGEST, OTHER):
        catalog.versions.add(new_version(digest), (), lambda: None)
    yield registry_over(catalog)
    catalog.close()


def new_version(digest: str) -> NewVersion:
    return NewVersion(
        name="iris",
        digest=digest,
        blob=digest,
        size_bytes=1,
        purpose="",
        owner="ml@example.com",
        description="",
        pushed_at="2026-11-30T12:00:00Z",
        metrics={},
    )


def test_nothing_known_is_said_and_no_column_is_shown(registry):
    status = snapshot(registry, "iris", BEGIN, UNTIL)
    assert (status.version, status.rows, status.columns, status.metrics) == (0, 0, (), ())
    (sentence,) = status.unknown
    assert sentence.startswith("no row was counted in this period")


def test_a_name_that_nobody_has_pushed_is_an_error(registry):
    with pytest.raises(ModelNotFound):
        snapshot(registry, "wine", BEGIN, UNTIL)


def test_windows_of_the_period_add_up_and_are_compared_with_their_reference(registry):
    profile = reference()
    replicas = [window(profile, BEGIN + HOUR_S, 1), window(profile, BEGIN + HOUR_S, 2, replica="replica-2")]
    before = window(profile, BEGIN - HOUR_S, 3)
    report(registry, profile, [before, *replicas])
    status = snapshot(registry, "iris", BEGIN, UNTIL)
    assert (status.version, status.owner, status.reference) == (1, "ml@example.com", "reference data")
    assert (status.rows, status.seen, status.replicas) == (600, 6000, ("replica-1", "replica-2"))
    age = next(column for column in status.columns if column.name == "age")
    assert (age.rows, sum(age.live), age.is_tested, age.is_alarming) == (600, 600, True, False)
    assert 0 < age.psi < 0.2
    (point,) = age.history
    assert (point.at, point.rows) == (BEGIN + HOUR_S, 600)
    assert [column.is_output for column in status.columns][:3] == [False, False, True]


def test_the_version_seen_last_is_shown_unless_another_is_asked_for(registry):
    profile = reference()
    report(
        registry,
        profile,
        [
            window(profile, BEGIN, 1),
            window(profile, BEGIN + HOUR_S, 2, version=2, digest=OTHER, release=2),
        ],
    )
    newest, first = (snapshot(registry, "iris", BEGIN, UNTIL, version=version) for version in (None, 1))
    assert (newest.version, newest.release, newest.rows) == (2, 2, 300)
    assert (first.version, first.release, first.rows) == (1, 1, 300)


def test_alarms_are_those_of_the_version_that_were_open_in_the_period(registry):
    profile = reference()
    report(registry, profile, [window(profile, BEGIN + HOUR_S, 1)])
    ended = msgspec.structs.replace(ALARM, id="ended", ended_at=BEGIN + 2 * HOUR_S)
    long_ago = msgspec.structs.replace(ALARM, id="long ago", ended_at=BEGIN - 1)
    other = msgspec.structs.replace(ALARM, id="other", version=2, digest=OTHER)
    registry.monitoring.save("monitor", {}, [], [ALARM, ended, long_ago, other])
    status = snapshot(registry, "iris", BEGIN, UNTIL)
    assert {alarm.id for alarm in status.alarms} == {"open", "ended"}


@pytest.mark.slow
def test_an_alarming_column_says_what_changed_and_since_when(registry):
    profile, clock = reference(), BEGIN + 65 * HOUR_S
    report(registry, profile, [window(profile, BEGIN + HOUR_S * hour, hour, shift=4.0) for hour in range(60)])
    driver = MonitorDriver(registry, "a", clock=lambda: clock, slot_s=HOUR_S)
    (alarm,) = driver.turn()
    status = snapshot(registry, "iris", BEGIN, clock)
    age, income = (column for column in status.columns if column.name in ("age", "income"))
    assert (age.is_alarming, age.began_at) == (True, alarm.began_at)
    assert "higher by" in age.change
    assert age.log_e > 4
    assert (income.is_alarming, income.change) == (False, "")
    assert not any("tests the columns" in sentence for sentence in status.unknown)


def test_who_does_not_test_and_a_weak_reference_are_said(registry):
    profile = msgspec.structs.replace(reference(20), source="samples")
    report(registry, profile, [window(profile, BEGIN, 1)])
    unknown = snapshot(registry, "iris", BEGIN, UNTIL).unknown
    assert any(sentence.startswith("no process tests the columns now") for sentence in unknown)
    assert any("only 20 golden samples" in sentence for sentence in unknown)
    registry.fleet.lease(LEASE, "a", 60.0)
    unknown = snapshot(registry, "iris", BEGIN, UNTIL).unknown
    assert any(sentence.startswith("no column has been tested yet") for sentence in unknown)


@pytest.mark.slow
def test_of_a_long_period_windows_are_read_evenly_and_the_newest_is_among_them(registry):
    profile = reference()
    hourly = [window(profile, BEGIN + HOUR_S * hour / 40, hour, rows=10) for hour in range(24 * 40 - 1)]
    last = window(profile, UNTIL - 1, 0, rows=10, version=2, digest=OTHER)
    report(registry, profile, [*hourly, last])
    counts = sum(map(len, last.counts))
    whole = thinned_snapshot(registry, "iris", BEGIN, UNTIL, most_counts=960 * counts, owner="ml")
    assert (whole.share_read, whole.version, whole.rows, whole.owner) == (1.0, 2, 10, "ml")
    registry.monitoring.add_windows([window(profile, UNTIL - 0.5, 1, rows=10)])
    part = thinned_snapshot(registry, "iris", BEGIN, UNTIL, most_counts=96 * counts, owner="ml")
    assert 0.08 < part.share_read < 0.12
    assert part.rows == pytest.approx(part.share_read * 961 * 10, abs=20)
    age = next(column for column in part.columns if column.name == "age")
    assert len(age.history) >= 44, "nearly every part of the period has windows"
    assert sum(point.rows for point in age.history) == part.rows


def test_of_a_period_without_windows_a_thinned_status_says_that_nothing_was_counted(registry):
    status = thinned_snapshot(registry, "iris", BEGIN, UNTIL, most_counts=1, owner="")
    assert (status.digest, status.columns, len(status.unknown)) == ("", (), 1)


@pytest.mark.parametrize("share", [1e-6, 0.01, 0.37, 0.999])
def test_the_spans_of_a_share_are_within_the_period_and_apart_from_each_other(share):
    spans = thinned(BEGIN, UNTIL, share)
    assert spans[0][0] >= BEGIN
    assert spans[-1][1] <= UNTIL + 1e-6
    assert all(end <= begin + 1e-6 for (_, end), (begin, _) in itertools.pairwise(spans))
    assert sum(end - begin for begin, end in spans) == pytest.approx(share * (UNTIL - BEGIN), rel=1e-3)
