"""Requests from within the process: on the event loop, through the application, as those of clients.

Knows no job and no catalog.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from lading.server.http.app import App
from lading.server.http.messages import Request, Response
from lading.server.inference.job import Job
from lading.server.inference.request_memory import COUNTED_BYTES

Answered = Callable[[Request, Response], None]
"""Takes the answer of a request; called on the event loop."""


class InnerRequests:
    """Asks an application on its event loop; ``lag_s`` is how late it last was."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self.deliver = self._from_thread  # One object, by which the batcher groups the jobs it returns.
        self.lag_s = 0.0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop that runs; before, nothing can be asked."""
        self._loop = loop

    @property
    def is_attached(self) -> bool:
        """Whether there is a loop to ask on."""
        return self._loop is not None

    def ask(self, request: Request, answered: Answered) -> bool:
        """Have `request` answered, in time or with a refusal; return False if the loop has ended."""
        assert self._loop is not None  # The caller has looked.
        try:
            self._loop.call_soon_threadsafe(self._begin, request, answered)
        except RuntimeError:
            return False
        return True

    def measure_lag(self) -> None:
        """Have ``lag_s`` set by the loop; before requests are asked, whose own runs would count."""
        assert self._loop is not None  # The caller has looked.
        with suppress(RuntimeError):  # It has ended: what is asked next finds out.
            self._loop.call_soon_threadsafe(self._note_lag, time.perf_counter())

    def _note_lag(self, began: float) -> None:
        self.lag_s = time.perf_counter() - began

    def _begin(self, request: Request, answered: Answered) -> None:
        assert self._loop is not None
        request.waiter = answered
        size = len(request.body)
        if size >= COUNTED_BYTES and not self._app.receive(request, size):
            self._answer(request, self._app.refuse_body(request))
            return
        # Cheap jobs run here and now, as those of a client that is alone in its turn of the loop.
        response = self._app.dispatch(request, self.deliver)
        if response is not None:
            self._answer(request, response)
        elif not request.is_elsewhere:  # Else its deadline is kept there.
            self._loop.call_later(self._app.plane.deadline_s, self._time_out, request)

    def _answer(self, request: Request, response: Response) -> None:
        answered, request.waiter = request.waiter, None
        if answered is not None:  # It is None once the deadline has answered for it.
            answered(request, response)

    def _time_out(self, request: Request) -> None:
        # Most have been answered long before, and their timer finds nothing to do.
        if request.waiter is not None and request.job is not None:
            self._answer(request, self._app.time_out(request.job))

    def _from_thread(self, jobs: list[Job]) -> None:
        assert self._loop is not None
        self._app.post(jobs, self._loop, self._complete)

    def _complete(self, jobs: list[Job]) -> None:
        for job in jobs:
            request = job.exchange
            self._answer(request, self._app.complete(job))
