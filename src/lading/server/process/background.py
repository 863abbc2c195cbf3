"""What runs beside a server in threads of its own: the rollout driver, the beat of the inventory.

The server knows none of them: it is given functions, and tells them its `Status`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lading.server.process.status import Status

BackgroundTask = Callable[["Status", threading.Event], None]
"""Runs beside a server until the event is set, which is when nothing is answered any more."""

PATIENCE_S = 5.0
"""A companion that takes longer to end is left behind: no server waits for a catalog that is away."""


class BackgroundTasks:
    """The companions of one process; each worker has its own."""

    def __init__(self, companions: Sequence[BackgroundTask], status: Status) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=one, args=(status, self._stop), name="companion", daemon=True)
            for one in companions
        ]

    def start(self) -> None:
        """Begin to run them; returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have all of them end, and wait for it a little."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
