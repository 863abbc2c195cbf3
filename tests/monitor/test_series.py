"""The tests of one version over time: slots of all replicas, each tested once, stored and resumed."""

from __future__ import annotations

import msgspec

from lading.monitor.discoveries import ALPHA
from lading.monitor.series import GRACE_S, Series, SeriesState, is_tested
from lading.profile.encoding import digest as digest_of
from support.live_columns import BEGIN, DIGEST, HOUR_S, reference, window

PROFILE = reference()


def series_of(state: SeriesState | None = None, profile=PROFILE) -> Series:
    state = state or SeriesState("iris", 1, DIGEST, digest_of(profile))
    return Series(state, profile, alpha=ALPHA, slot_s=HOUR_S, grace_s=GRACE_S)


def test_a_slot_is_tested_once_no_window_of_it_is_expected_any_more():
    series = series_of()
    series.add(window(PROFILE, BEGIN + 10, 1))
    series.test(BEGIN + HOUR_S + GRACE_S - 1)
    assert series.state.tests == {}
    series.test(BEGIN + HOUR_S + GRACE_S)
    assert series.state.tests["age"].windows == 1
    assert series.state.tested_until == BEGIN + HOUR_S
    series.test(BEGIN + 5 * HOUR_S)
    assert series.state.tests["age"].windows == 1


def test_windows_of_one_slot_add_up_and_a_late_one_counts_in_the_next():
    series = series_of()
    for number in range(3):
        series.add(window(PROFILE, BEGIN + 60 * number, number, rows=100, release=number))
    (slot,) = series.state.pending.values()
    assert (slot.rows, slot.release, sum(slot.counts[0])) == (300, 2, 300)
    series.test(BEGIN + 2 * HOUR_S)
    series.add(window(PROFILE, BEGIN, 9))
    (late,) = series.state.pending.values()
    assert late.at == BEGIN + HOUR_S


def test_a_series_that_was_stored_goes_on_as_if_it_had_not_been():
    whole, resumed = series_of(), series_of()
    for hour in range(6):
        each = window(PROFILE, BEGIN + HOUR_S * hour, hour, shift=0.5)
        whole.add(each)
        resumed.add(each)
        whole.test(BEGIN + HOUR_S * (hour + 1))
        resumed.test(BEGIN + HOUR_S * (hour + 1))
        body = msgspec.json.encode(resumed.state)
        resumed = series_of(msgspec.json.decode(body, type=SeriesState))
    assert resumed.state == whole.state
    assert whole.state.tests["age"].windows == 5


def test_distances_are_of_the_last_hour():
    series = series_of()
    series.add(window(PROFILE, BEGIN, 1, rows=2000, shift=2.0))
    series.test(BEGIN + 2 * HOUR_S)
    distances = series.distances()
    assert distances["age"] > 1
    assert distances["income"] < 0.1
    for hour in range(1, 8):
        series.add(window(PROFILE, BEGIN + HOUR_S * hour, hour, rows=2000))
    series.test(BEGIN + 10 * HOUR_S)
    assert series.distances()["age"] < 0.1


def test_labels_from_the_second_turn_on_are_compared_with_the_reference():
    labelled = reference(labelled=True)
    series = series_of(profile=labelled)
    assert series.test_labels(5, 5, BEGIN) == []
    assert series.state.labels.test is None
    series.test_labels(30, 270, BEGIN + HOUR_S)
    assert series.state.labels.test.reference_right == labelled.right
    assert (series.state.labels.test.wrong, series.state.labels.test.right) == (30, 270)


def test_the_open_alarms_end_with_the_version():
    series = series_of()
    for hour in range(60):
        series.add(window(PROFILE, BEGIN + HOUR_S * hour, hour, shift=4.0))
    (alarm,) = series.test(BEGIN + 70 * HOUR_S)
    assert alarm.subject == "age"
    (ended,) = series.close(BEGIN + 80 * HOUR_S)
    assert (ended.id, ended.ended_at) == (alarm.id, BEGIN + 80 * HOUR_S)
    assert series.state.alarms == {}


def test_times_are_not_tested():
    column = PROFILE.inputs[0]
    assert is_tested(column)
    assert not is_tested(msgspec.structs.replace(column, kind="timestamp"))
