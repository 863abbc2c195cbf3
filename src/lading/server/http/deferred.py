"""Answers that wait for something slow, such as the catalog: made in threads, so that the loop never waits.

Runs no model. At most a few wait at a time: a catalog that does not answer must not fill the memory.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from lading.errors import LadingError, QueueFull
from lading.server.exchange import Pipeline
from lading.server.http.messages import Deferred, Request, Response
from lading.server.inference.job import Deliver, Job

_THREADS = 16
MOST_WAITING = 256


class DeferredAnswers:
    """Makes deferred answers, and returns them to where their clients wait."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._waiting = 0

    def submit(self, request: Request, deferred: Deferred, deliver: Deliver) -> None:
        """Have `deferred` made; it comes back through `deliver`. Raises `QueueFull`."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                where = "requests that wait for the catalog"
                raise QueueFull(where, expected=f"at most {MOST_WAITING} at once", found="more")
            self._waiting += 1
            if self._threads is None:
                # With the first such request: most servers never have one.
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="deferred")
        request.is_elsewhere = True
        self._threads.submit(self._make, request, deferred, deliver)

    def _make(self, request: Request, deferred: Deferred, deliver: Deliver) -> None:
        outcome: Response | LadingError
        try:
            outcome = deferred.act()
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            outcome = self._pipeline.as_refusal(request, error)
        # Before the answer goes: a client that asks again at once finds the place free.
        with self._lock:
            self._waiting -= 1
        # A host takes answers back as jobs that have run; this one has run nothing.
        job = Job(cast("Any", None), {}, None, lambda _outputs: outcome)
        job.outcome = cast("Any", outcome)
        job.exchange = request
        deliver([job])
