"""The parts of a period, by which charts over time are made: windows by when they began. Reads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lading.profile.live import ColumnWindow

# Half-hours of a day: few enough that each has rows, and enough to see when something began.
PARTS = 48


class Part(NamedTuple):
    """A part of a period that has windows: the Unix time at which it began, and its length."""

    at: float
    seconds: float
    windows: list[ColumnWindow]


def period_parts(windows: Sequence[ColumnWindow], since: float, until: float) -> list[Part]:
    """Return the parts that have windows, in their order. All windows began within the period."""
    length = (until - since) / PARTS
    by_part: dict[int, list[ColumnWindow]] = {}
    for window in windows:
        # A window counts where it began, whole: it is short beside a part of the period.
        by_part.setdefault(part_of(window.at, since, length), []).append(window)
    return [Part(since + part * length, length, by_part[part]) for part in sorted(by_part)]


def part_of(at: float, since: float, length: float) -> int:
    """Return in which part of `length` seconds a moment of the period is."""
    return min(int((at - since) / length), PARTS - 1)
