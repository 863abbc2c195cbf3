"""Times as they are written down, a clock that does not jump, and how long to wait before the next try.

Reads no clock itself: what reads one is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

Precision = Literal["seconds", "milliseconds", "microseconds"]

# 2.0 ** 1024 overflows a float: what fails for a day fails more often than that.
_MOST_DOUBLINGS = 64


def iso_time(unix_s: float, precision: Precision = "seconds", *, utc: Literal["Z", "+00:00"] = "Z") -> str:
    """Return a Unix time as ISO 8601 in UTC, such as ``2026-01-31T12:00:00Z``; what is finer is cut off.

    `utc` is how the zone is written: evidence says ``+00:00``, everything else ``Z``.
    """
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec=precision).replace("+00:00", utc)


def unix_time(iso: str) -> float:
    """Return the Unix time of an ISO 8601 text; raises `ValueError` if it is none."""
    return datetime.fromisoformat(iso).timestamp()


class SteadyClock:
    """Unix time that goes on evenly when a clock is set: read once from `reference`, moved on by `steady`.

    ``forget`` has the next call read `reference` again, such as when nothing that was dated matters any more.
    """

    def __init__(self, reference: Callable[[], float], steady: Callable[[], float]) -> None:
        self._reference = reference
        self._steady = steady
        self._offset_s: float | None = None

    def __call__(self) -> float:
        """Return the present Unix time."""
        if self._offset_s is None:
            self._offset_s = self._reference() - self._steady()
        return self._steady() + self._offset_s

    def jump_s(self) -> float:
        """Return by how much `reference` was set on since it was read; below 0 if it was set back."""
        return self._reference() - self()

    def forget(self) -> None:
        """Read `reference` again at the next call."""
        self._offset_s = None


def back_off_s(failures: int, *, first_s: float, most_s: float) -> float:
    """Return the pause after `failures` in a row: `first_s`, then doubled each time up to `most_s`."""
    doublings = min(failures - 1, _MOST_DOUBLINGS)
    return min(first_s * 2.0**doublings, most_s)
