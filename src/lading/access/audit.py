"""Audit events: one line of JSON for each refusal and each change of what is allowed, with the caller's name.

They go to the logger ``lading.audit``. No credential is in them. Refusals are bounded by second, and what
was left out is counted: a flood of wrong keys costs the log nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from lading.clock import iso_time

LOGGER = "lading.audit"
_log = logging.getLogger(LOGGER)

_MOST_A_SECOND = 10
_LONGEST_VALUE = 200


class Audit:
    """Writes audit events."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._second = 0
        self._written = 0
        self._left_out = 0

    def refused(self, error: str, caller: str, address: str, line: tuple[str, str]) -> None:
        """Write that a request was refused, by the class of the error, which `may_write` has let through."""
        method, path = line
        values = {"error": error, "caller": caller, "address": address, "method": method, "path": path}
        self.note("refused", **values)

    def note(self, event: str, **values: Any) -> None:
        """Write one event."""
        # Bounded, because callers choose paths; JSON quotes line ends, so that nobody can forge an event.
        kept = {name: _short(value) for name, value in values.items() if value not in ("", None)}
        line = json.dumps({"time": iso_time(self._clock(), "milliseconds"), "event": event, **kept})
        _log.warning("%s", line) if event == "refused" else _log.info("%s", line)

    def may_write(self) -> bool:
        """Return whether one more refusal is written; of a flood most are only counted.

        Asked first, so that what would be written is not gathered for nothing.
        """
        with self._lock:
            second = int(self._clock())
            if second != self._second:
                left_out, self._left_out = self._left_out, 0
                self._second, self._written = second, 0
            else:
                left_out = 0
            self._written += 1
            if self._written > _MOST_A_SECOND:
                self._left_out += 1
                return False
        # Outside of the lock: a slow log holds up this request, and no other one.
        if left_out:
            self.note("refused and not listed", count=left_out)
        return True


def _short(value: Any) -> Any:
    return value[:_LONGEST_VALUE] if isinstance(value, str) else value
