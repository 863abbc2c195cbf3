"""The tests of slices over hours: what alarms, how seldom falsely, and what is stored between two hours."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from lading.monitor.slice_tests import HOUR_S, SliceTests, add_hour, close, key_of, read_tests
from lading.monitor.slices import advance, alarm_of

NAMES = ("region = north", "region = south", "age ≤ 30")
BEGIN = 1_700_000_000 // HOUR_S * HOUR_S


def begun(**changes) -> SliceTests:
    return SliceTests("iris", 1, "sha256:1", 4, BEGIN, **changes)


def counts(random, rows: int = 60, **accuracies: float) -> dict[str, tuple[int, int]]:
    shares = {name: accuracies.get(name.split()[-1], 0.9) for name in NAMES}
    right = {name: int(random.binomial(rows, share)) for name, share in shares.items()}
    return {name: (rows - each, each) for name, each in right.items()}


@pytest.mark.slow
def test_series_without_a_change_alarm_no_more_often_than_stated():
    level, series, alarmed = 0.1, 20, 0
    for seed in range(series):
        random, tests = np.random.default_rng(seed), begun()
        for _ in range(60):
            add_hour(tests, counts(random), level)
        alarmed += bool(tests.alarms)
    assert alarmed <= level * series


@pytest.mark.slow
def test_a_slice_that_goes_bad_alarms_alone_while_the_whole_does_not():
    random, tests, whole = np.random.default_rng(0), begun(), {}
    for hour in range(150):
        now = counts(random, north=0.6 if hour >= 100 else 0.9)
        add_hour(tests, now, 0.01)
        # One row in thirty is of that region.
        right = int(random.binomial(1740, 0.9)) + now[NAMES[0]][1]
        whole = advance(whole, {"": (1800 - right, right)}, hour * HOUR_S, HOUR_S)
    assert alarm_of(whole) == {}
    (alarm,) = tests.alarms.values()
    assert (alarm.kind, alarm.subject, alarm.release, alarm.version) == ("slice", NAMES[0], 4, 1)
    assert abs(alarm.began_at - (BEGIN + 100 * HOUR_S)) <= 5 * HOUR_S
    assert alarm.text.startswith("accuracy where `region = north`: ")
    # About the last day says what it is now, and not the days before the change.
    assert 0.55 < alarm.value < 0.8


def test_what_is_stored_goes_on_as_if_it_had_not_been():
    random, tests = np.random.default_rng(0), begun()
    stored = begun()
    for _ in range(12):
        hour = counts(random)
        add_hour(tests, hour, 0.01)
        stored = read_tests(msgspec.json.encode(stored).decode())
        add_hour(stored, hour, 0.01)
    assert stored == tests
    assert stored.counted_until == BEGIN + 12 * HOUR_S
    assert read_tests('{"name": 3}') is None


def test_an_hour_without_labels_is_no_evidence_and_is_counted():
    tests = begun()
    add_hour(tests, counts(np.random.default_rng(0), rows=300), 0.01)
    before = tests.slices
    assert add_hour(tests, {}, 0.01) == []
    assert tests.slices == before
    assert tests.counted_until == BEGIN + 2 * HOUR_S


@pytest.mark.slow
def test_alarms_end_when_another_version_is_live():
    random, tests = np.random.default_rng(0), begun()
    raised = []
    for hour in range(140):
        raised += add_hour(tests, counts(random, north=0.5 if hour >= 100 else 0.9), 0.01)
    (alarm,) = raised  # Once, however long it lasts.
    (ended,) = close(tests, BEGIN + 200 * HOUR_S)
    assert ended == msgspec.structs.replace(alarm, ended_at=BEGIN + 200 * HOUR_S)
    assert tests.alarms == {}
    assert tests.key == key_of("iris", "sha256:1")
