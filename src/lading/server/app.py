"""The application: from a whole request to a whole response, whatever server hosts it.

A host (`asgi`, later a protocol class) calls `begin`. The exchange it gets back has its response, or is
on its way through a batcher and comes back to the host's `deliver`; `finish` then makes the response.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

from lading.errors import BodyTooLarge, LadingError, ModelNotReady, RunFailed
from lading.server.dataplane import DataPlane
from lading.server.http import Request, Response, Route, Router
from lading.server.job import Deliver, Job
from lading.server.metrics import Metrics

log = logging.getLogger("lading.server")


@dataclass(slots=True, eq=False)
class Exchange:
    """One request on its way.

    ``response`` is there once it is answered; until then ``job`` is under way. ``waiter`` is the host's own.
    """

    request: Request
    request_id: bytes
    began: float
    route: Route | None = None
    job: Job | None = None
    response: Response | None = None
    error: LadingError | None = None
    waiter: Any = None


class App:
    """Answers requests over the data plane; holds the routes of every protocol."""

    def __init__(self, plane: DataPlane, router: Router, metrics: Metrics, max_body_bytes: int) -> None:
        self.plane = plane
        self.router = router
        self.metrics = metrics
        self.max_body_bytes = max_body_bytes
        self._ids = _request_ids()

    def begin(self, request: Request, deliver: Deliver) -> Exchange:
        """Answer `request` at once, or start its job.

        A started job comes back through `deliver`, in another thread and among others, with the exchange as
        its ``context``; the host then calls `finish`, once for each.
        """
        given = request.headers.get(b"x-request-id", b"")
        exchange = Exchange(request, given if 0 < len(given) <= 128 else next(self._ids), time.perf_counter())
        try:
            self._start(exchange, deliver)
        except LadingError as error:
            self._refuse(exchange, error)
        except Exception:  # noqa: BLE001 - logged with its traceback, answered with a sentence
            self._fail(exchange)
        return exchange

    def finish(self, exchange: Exchange) -> Response:
        """Make the response of an exchange whose job is done, and let go of the version it ran on."""
        job = exchange.job
        assert job is not None
        try:
            if exchange.response is None:
                self._answer(exchange, _outcome(job))
        except LadingError as error:
            self._refuse(exchange, error)
        except Exception:  # noqa: BLE001 - logged with its traceback, answered with a sentence
            self._fail(exchange)
        finally:
            self.plane.release(job)
        assert exchange.response is not None
        return exchange.response

    def give_up(self, exchange: Exchange) -> Response:
        """Answer an exchange whose job takes longer than it may; the job is skipped if it has not begun."""
        job = exchange.job
        assert job is not None
        job.cancelled = True
        self._refuse(exchange, self.plane.too_late(job))
        assert exchange.response is not None
        return exchange.response

    def refuse_body(self, request: Request, size: int | None) -> Exchange:
        """Answer a body that is larger than the limit, without having read it."""
        exchange = Exchange(request, next(self._ids), time.perf_counter())
        found = f"{size}" if size is not None else "more"
        expected = f"at most {self.max_body_bytes} bytes"
        hint = "send fewer rows at a time, or raise `max_body_bytes`"
        error = BodyTooLarge("request body", expected=expected, found=found, hint=hint)
        try:
            exchange.route, _ = self.router.find(request.method, request.path)
        except LadingError:
            exchange.route = None  # The body is refused either way; only the form of the refusal differs.
        self._refuse(exchange, error)
        return exchange

    def _handle(self, exchange: Exchange) -> Response | Job:
        request = exchange.request
        exchange.route, request.params = self.router.find(request.method, request.path)
        return exchange.route.handler(request, self.plane)

    def _run(self, exchange: Exchange, job: Job, deliver: Deliver) -> None:
        exchange.job = job
        job.context = exchange
        if self.plane.start(job, deliver):
            self.finish(exchange)

    def _start(self, exchange: Exchange, deliver: Deliver) -> None:
        outcome = self._handle(exchange)
        if isinstance(outcome, Response):
            self._answer(exchange, outcome)
            return
        try:
            self._run(exchange, outcome, deliver)
        except ModelNotReady:
            # The version was unloaded after it had been found: what replaced it is found now.
            again = self._handle(exchange)
            assert isinstance(again, Job)
            self._run(exchange, again, deliver)

    def _answer(self, exchange: Exchange, response: Response) -> None:
        job, route = exchange.job, exchange.route
        headers = (*response.headers, (b"x-request-id", exchange.request_id))
        if job is not None:
            headers = (*job.served.headers, *headers)
        response.headers = headers
        exchange.response = response
        if route is None:
            stats = self.metrics.stats("", 0, "http")
        elif job is None:
            stats = self.metrics.stats("", 0, route.protocol)
        else:
            stats = self.metrics.stats(job.served.name, job.served.version, route.protocol)
            stats.rows += job.rows
        stats.statuses[response.status] += 1
        stats.received_bytes += len(exchange.request.body)
        stats.sent_bytes += len(response.body)
        stats.latency.observe(time.perf_counter() - exchange.began)
        if exchange.error is not None:
            stats.errors[type(exchange.error).__name__] += 1

    def _refuse(self, exchange: Exchange, error: LadingError) -> None:
        exchange.error = error
        refuse = exchange.route.refuse if exchange.route is not None else self.router.refuse
        self._answer(exchange, refuse(error))

    def _fail(self, exchange: Exchange) -> None:
        # A defect of ours: the client gets a sentence and an id, the log gets the traceback.
        request_id = exchange.request_id.decode("latin-1")
        log.exception("request %s failed", request_id)  # noqa: LOG004 - called in the handler
        hint = f"the server's log has it under x-request-id {request_id}"
        self._refuse(exchange, RunFailed("internal error", hint=hint))


def _outcome(job: Job) -> Response:
    if job.error is not None:
        raise job.error
    if job.result is None:
        return Response(status=499)  # The client has gone; nobody reads this, but it is counted.
    response: Response = job.encode(job.result)
    return response


def _request_ids() -> itertools.chain[bytes]:
    """Count request ids up from a random beginning: unique across processes, and cheap."""
    prefix = os.urandom(8).hex()
    return itertools.chain(f"{prefix}-{number:x}".encode() for number in itertools.count())
