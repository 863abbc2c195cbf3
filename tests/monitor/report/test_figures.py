from __future__ import annotations

import math

import pytest

from lading.monitor.report import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.31, "31 %"),
        (0.031, "3.1 %"),
        (0.0004, "0.04 %"),
        (0.00001, "< 0.01 %"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.999, "99.9 %"),
        (0.99995, "> 99.9 %"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_a_share_has_two_digits_and_is_neither_none_nor_all_by_rounding(value, text):
    assert figures.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (41.25, "41.25"),
        (-3.5, "−3.5"),
        (1_754_035.2, "1,754,035"),
        (3.2e12, "3.2e12"),
        (2e-7, "2e−7"),
        (None, "–"),
    ],
)
def test_a_number_is_short_whatever_its_size(value, text):
    assert figures.number(value) == text


def test_a_distance_that_is_not_zero_is_not_shown_as_zero():
    assert [figures.distance(value) for value in (0.0, 0.0004, 0.061, 0.0999, 7.04)] == [
        "0.000",
        "< 0.001",
        "0.061",
        "0.10",
        "7.04",
    ]


@pytest.mark.parametrize(
    ("times", "text"),
    [(3.9, "1 in 3"), (3999, "1 in 3,000"), (2.7e6, "1 in 2 million"), (1e9, "1 in a billion")],
)
def test_at_most_one_in_so_many_is_rounded_to_the_safe_side(times, text):
    assert figures.one_in(times) == text


def test_times_are_utc_and_ticks_show_no_more_than_their_step():
    at = 1_796_018_400.0
    assert figures.moment(at) == "2026-11-30 06:00 UTC"
    assert figures.short_moment(at) == "30 Nov 06:00"
    assert figures.tick_time(at, 3600) == "06:00"
    assert figures.tick_time(at - 6 * 3600, 3600) == "30 Nov"
    assert figures.tick_time(at, 86_400) == "30 Nov"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (720, "12 min"), (7800, "2 h 10 min"), (86_400, "24 h"), (604_800, "7 days")],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert figures.span(seconds) == text
