"""The parts of a period, and which windows are in which."""

from __future__ import annotations

from lading.monitor.periods import PARTS, part_of, period_parts
from support.live_columns import BEGIN, HOUR_S, reference, window


def test_each_window_is_in_the_part_in_which_it_began():
    profile = reference()
    length = 24 * HOUR_S / PARTS
    windows = [
        window(profile, BEGIN + at, seed, rows=5) for seed, at in enumerate((0, length - 1, 3 * length))
    ]
    first, second = period_parts(windows, BEGIN, BEGIN + 24 * HOUR_S)
    assert (first.at, first.seconds, first.windows) == (BEGIN, length, windows[:2])
    assert (second.at, second.windows) == (BEGIN + 3 * length, windows[2:])


def test_the_last_moment_of_a_period_is_in_its_last_part():
    assert part_of(BEGIN + 100.0, BEGIN, 100.0 / PARTS) == PARTS - 1
    assert period_parts([], BEGIN, BEGIN + 1) == []
