"""Times as they are written down, and how long to wait before the next try."""

from __future__ import annotations

import pytest

from lading.clock import back_off_s, iso_time, unix_time


@pytest.mark.parametrize(
    ("precision", "text"),
    [
        ("seconds", "2026-01-31T12:00:00Z"),
        ("milliseconds", "2026-01-31T12:00:00.987Z"),
        ("microseconds", "2026-01-31T12:00:00.987654Z"),
    ],
)
def test_a_time_is_written_in_utc_and_finer_digits_are_cut_off(precision, text):
    assert iso_time(1769860800.987654, precision) == text


def test_evidence_writes_the_zone_as_an_offset():
    assert iso_time(1769860800.9, utc="+00:00") == "2026-01-31T12:00:00+00:00"


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00.500Z", "2026-01-31T13:00:00.5+01:00"])
def test_a_written_time_is_read_in_any_zone(text):
    assert unix_time(text) == 1769860800.5


def test_the_pause_doubles_with_every_failure_up_to_its_limit():
    pauses = [back_off_s(failures, first_s=0.5, most_s=5) for failures in range(1, 7)]
    assert pauses == [0.5, 1, 2, 4, 5, 5]


def test_the_pause_stays_at_its_limit_however_often_something_has_failed():
    assert back_off_s(1_000_000, first_s=0.5, most_s=30) == 30
