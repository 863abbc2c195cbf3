"""Times as they are written down, and how long to wait before the next try. Reads no clock itself."""

from __future__ import annotations

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


def back_off_s(failures: int, *, first_s: float, most_s: float) -> float:
    """Return the pause after `failures` in a row: `first_s`, then doubled each time up to `most_s`."""
    doublings = min(failures - 1, _MOST_DOUBLINGS)
    return min(first_s * 2.0**doublings, most_s)
