"""Ends runs that do not end: those of queues after their deadline, all if the event loop stands still.

A thread, because the event loop itself may be what waits for a run. It cannot end a single operator that
never ends; then `/health` says so, and a supervisor replaces the worker if its loop stands still.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lading.server.inference.dataplane import DataPlane

INTERVAL_S = 0.25


class Watchdog:
    """Looks at the runs of one process four times a second; a run may take `limit_s`.

    `last_tick` returns when the event loop last turned, on the clock of `time.monotonic`, and 0 while it does
    not run.
    """

    def __init__(self, plane: DataPlane, limit_s: float, last_tick: Callable[[], float]) -> None:
        self._plane = plane
        self._limit_s = limit_s
        self._last_tick = last_tick
        self._acted_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._plane.end_long_runs(self._limit_s)
            ticked_at, now = self._last_tick(), time.monotonic()
            # Once for each limit that the loop stands still: it may go from one such run to the next.
            if ticked_at and now - max(ticked_at, self._acted_at) > self._limit_s:
                self._acted_at = now
                self._plane.end_all_runs(f"the event loop has stood still for {self._limit_s:g} s")
