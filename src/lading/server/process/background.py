"""Tasks that run beside a server in threads, such as the rollout driver and the inventory's heartbeat.

The server knows none of them: it is given functions, and passes them its `Status`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lading.server.process.status import Status

log = logging.getLogger("lading.server")

BackgroundTask = Callable[["Status", threading.Event], None]
"""Runs beside a server until the event is set, which happens when the server has stopped answering."""

RETRY_S = 3.0

STOP_TIMEOUT_S = 5.0
"""A task that takes longer to end is abandoned: no server waits for a catalog that is unreachable."""


class BackgroundTasks:
    """The background tasks of one process; each worker has its own."""

    def __init__(self, tasks: Sequence[BackgroundTask], status: Status) -> None:
        self._stop = threading.Event()
        self._threads = [
            # A daemon, so that an abandoned task does not keep the process alive.
            threading.Thread(target=self._run, args=(task, status), name="background task", daemon=True)
            for task in tasks
        ]

    def start(self) -> None:
        """Start every task; returns without waiting for any."""
        for thread in self._threads:
            thread.start()

    def _run(self, task: BackgroundTask, status: Status) -> None:
        """Run a task until the server ends: one that fails, as without descriptors, is begun again."""
        failure = ""
        while not self._stop.is_set():
            try:
                task(status, self._stop)
            except Exception as error:
                # The edge of a thread. The same failure is logged once, and not with every try.
                if failure != (failure := f"{type(error).__name__}: {error}"):
                    log.exception("a background task failed; it is begun again every %g s", RETRY_S)
                self._stop.wait(RETRY_S)
            else:
                return

    def stop(self) -> None:
        """Ask every task to end, and wait a little for each."""
        # All are asked before any is waited for: they end at the same time.
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)
