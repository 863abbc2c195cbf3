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


def run_of(number: int, shift: float = 0.0):
    """Return the window of a batch run, a day after the one before."""
    at = BEGIN + 24 * HOUR_S * number
    return window(PROFILE, at, number, rows=2000, shift=shift, replica="batch", seen=90_000)


def test_one_batch_run_raises_an_alarm_and_one_that_is_as_the_reference_ends_it():
    series = series_of()
    series.add(run_of(0))
    assert series.test(BEGIN) == []
    series.add(run_of(1, shift=2.0))
    (alarm,) = series.test(BEGIN)
    assert (alarm.kind, alarm.subject, alarm.is_open) == ("drift", "age", True)
    assert alarm.text.startswith("`age` higher by 1.")
    assert alarm.text.endswith("standard deviations, in a batch run of 90,000 rows")
    # Stored between two runs, and another like it is no news.
    series = series_of(msgspec.json.decode(msgspec.json.encode(series.state), type=SeriesState))
    series.add(run_of(2, shift=2.0))
    assert series.test(BEGIN) == []
    series.add(run_of(3))
    (ended,) = series.test(BEGIN)
    assert (ended.id, ended.is_open, series.state.runs) == (alarm.id, False, 4)
    assert series.state.alarms == {}


def test_what_a_run_has_shown_is_no_second_alarm_of_the_test_over_time():
    series = series_of()
    for number in range(40):
        series.add(run_of(number, shift=2.0))
    changed = series.test(BEGIN + 50 * 24 * HOUR_S)
    assert [alarm.subject for alarm in changed] == ["age"]
