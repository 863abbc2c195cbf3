"""The HTTP application: from a whole request to a whole response, whatever server hosts it.

A host (`asgi`, `protocol`) calls `dispatch`. It gets the response, or None while the request's job is in a
batcher; the job comes back through the host's `deliver`, and `complete` makes the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lading.errors import BodyTooLarge, LadingError, ModelNotReady
from lading.server.exchange import NO_ROUTE, AccessControl, Pipeline
from lading.server.http.content_encoding import too_large, unpacked
from lading.server.http.content_type import require_json
from lading.server.http.cors import Cors
from lading.server.http.deferred import DeferredAnswers
from lading.server.http.large_bodies import UNPACKED_BYTES, LargeBodies, text_bytes
from lading.server.http.messages import JSON, Deferred, ReadElsewhere, Request, Response, Route
from lading.server.http.router import Router
from lading.server.inference.job import Deliver, Job
from lading.server.inference.request_memory import Reservation

CLIENT_GONE = 499


class App:
    """Answers requests through the pipeline; holds the routes of every protocol."""

    def __init__(
        self,
        pipeline: Pipeline,
        router: Router,
        max_body_bytes: int,
        cors: Cors | None = None,
        large_bodies: LargeBodies | None = None,
    ) -> None:
        self.pipeline = pipeline
        self._access = pipeline.access
        self.plane = pipeline.plane
        self.metrics = pipeline.metrics
        self.router = router
        self.max_body_bytes = max_body_bytes
        self.cors = cors
        self._large_bodies = large_bodies
        self._deferred = DeferredAnswers(pipeline)
        # Set where jobs are taken: returns the route that submits what a fast route would answer.
        self.submitting: Callable[[Request, Route], Route | None] | None = None
        self._slow_bytes = large_bodies.slow_bytes if large_bodies is not None else max_body_bytes

    def dispatch(
        self, request: Request, deliver: Deliver, pending_jobs: list[Job] | None = None
    ) -> Response | None:
        """Answer `request` now, or start its job and return None.

        A started job comes back through `deliver`, in another thread and perhaps among others, with
        ``request`` as its exchange; the host then calls `complete` for it. The route may be set already, by a
        host that has checked the content type against it. A host that has more requests at hand passes
        `pending_jobs`: cheap jobs are added to it, and the host has the data plane run them together and
        calls `complete` for each.
        """
        self.pipeline.identify(request, request.headers.get(b"x-request-id"))
        try:
            if request.route is None:
                # A host that sets the route has looked at the content type: most heads are known to it.
                request.route, request.params = self.router.find(request.method, request.path)
                if request.body and not request.route.any_type:
                    require_json(request.headers.get(b"content-type", JSON))
            if self._access is not None:  # Before anything is done with the body.
                self._access(request)
            if self.submitting is not None and b"prefer" in request.headers:
                submitting = self.submitting(request, request.route)
                if submitting is not None:
                    request.route = submitting
                    return self._start(request, deliver, None)  # Its body is stored as it is.
            is_packed = b"content-encoding" in request.headers and request.body
            if is_packed and self._is_unpacked_elsewhere(request, deliver):
                return None
            if len(request.body) > self._slow_bytes and self._gave_away(request, deliver):
                return None
        except LadingError as error:
            return self._refuse(request, error)
        return self._start(request, deliver, pending_jobs)

    def receive(self, request: Request, size_bytes: int) -> bool:
        """Reserve memory for a body, or more of it; return whether there is some, and the caller may ask."""
        if request.reservation is None:
            request.reservation = Reservation(self.plane.memory)
        try:
            if self.pipeline.access is not None and request.caller is None:
                self._admit(request, self.pipeline.access)
            request.reservation.receive(size_bytes)
        except LadingError as error:
            request.refusal = error
            return False
        return True

    def admit(self, request: Request, route: Route) -> Response | None:
        """Return the refusal of a request that a host answers itself, as one of `route`, or None."""
        access = self.pipeline.access
        if access is None:
            return None
        self.pipeline.identify(request, request.headers.get(b"x-request-id"))
        request.route = route
        try:
            access(request)
        except LadingError as error:
            return self._refuse(request, error)
        return None

    def _admit(self, request: Request, access: AccessControl) -> None:
        """Authorise a request whose body has not come yet; raises `LadingError`."""
        if request.route is None:
            with suppress(LadingError):  # No route takes it: that is said once it is read.
                request.route, request.params = self.router.find(request.method, request.path)
        if request.route is not None:
            access(request)

    def retry(self, request: Request, deliver: Deliver) -> Response | None:
        """Start a request again whose version was unloaded after it was resolved, as `dispatch` did."""
        self.pipeline.forget(request)
        return self._start(request, deliver, None)

    def _start(self, request: Request, deliver: Deliver, pending_jobs: list[Job] | None) -> Response | None:
        try:
            outcome = self.pipeline.handle(request)
            if type(outcome) is not Job:
                if type(outcome) is Deferred:
                    self._deferred.submit(request, outcome, deliver)
                    return None
                return self._answer(request, outcome)
            if pending_jobs is not None and self.plane.is_cheap(outcome):
                pending_jobs.append(outcome)
                return None
            try:
                done = self.plane.start(outcome, deliver)
            except ModelNotReady:
                done = self.plane.start(self.pipeline.handle_again(request), deliver)
            assert request.job is not None
            return self.complete(request.job) if done else None
        except ReadElsewhere:
            return self._start_elsewhere(request, deliver)
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            response = self._refuse(request, self.pipeline.as_refusal(request, error))
            request.job = None  # It was not started. See `complete`.
            return response

    def _grow(self, request: Request) -> Callable[[int], None]:
        """Return what reserves memory for more of a body."""
        if request.reservation is None:
            request.reservation = Reservation(self.plane.memory)
        return request.reservation.grow

    def _is_unpacked_elsewhere(self, request: Request, deliver: Deliver) -> bool:
        """Unpack a compressed body; return whether another thread does, because it is or becomes large."""
        large, route = self._large_bodies, request.route
        if large is None or route is None or self.max_body_bytes <= UNPACKED_BYTES:
            self._unpack(request, self.max_body_bytes)
            return False
        if not route.fast or len(request.body) <= large.packed_bytes:
            try:
                self._unpack(request, UNPACKED_BYTES)
            except BodyTooLarge as error:
                if not route.fast:
                    raise error.with_hint("only the bodies of predictions may become larger") from None
            else:
                return False
        large.submit(request, deliver)
        return True

    def _unpack(self, request: Request, most_bytes: int) -> None:
        encoding = request.headers[b"content-encoding"]
        request.body = unpacked(request.body, encoding, most_bytes, self._grow(request))

    def _gave_away(self, request: Request, deliver: Deliver) -> bool:
        """Return whether a large body is being read elsewhere; mark one that only a quick reader may read."""
        large, route = self._large_bodies, request.route
        if large is None or route is None or not route.fast:
            return False
        size = text_bytes(request)
        if size > large.quick_bytes:
            large.submit(request, deliver)
            return True
        request.is_slow = size > large.slow_bytes
        return False

    def _start_elsewhere(self, request: Request, deliver: Deliver) -> Response | None:
        assert self._large_bodies is not None  # Else no request is slow.
        self.pipeline.forget(request)
        try:
            self._large_bodies.submit(request, deliver)
        except LadingError as error:
            return self._refuse(request, error)
        return None

    def complete(self, job: Job) -> Response:
        """Make the response of a job that has run, and release the version it ran on."""
        request: Request = job.exchange
        try:
            if request.response is not None:
                return request.response
            outcome: Any = job.outcome
            if type(outcome) is dict:
                if job.rows > job.served.loaded.small_rows:  # type: ignore[union-attr]  # it has run
                    self.pipeline.reserve_answer(request, job, outcome)
                return self._answer(request, job.encode(outcome))
            if isinstance(outcome, Response):  # It was written elsewhere.
                return self._answer(request, outcome)
            if isinstance(outcome, LadingError):
                return self._refuse(request, outcome)
            return self._answer(request, Response(status=CLIENT_GONE))  # Counted, though nobody reads it.
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            return self._refuse(request, self.pipeline.as_refusal(request, error))
        finally:
            if job.holds_version:
                self.plane.release(job)
            # A job and its request name each other: left so, only the garbage collector frees them, which
            # costs a cheap request 4 µs.
            request.job = None

    def post(
        self, jobs: list[Job], loop: asyncio.AbstractEventLoop, complete: Callable[[list[Job]], None]
    ) -> None:
        """Have `loop` call `complete` with jobs that another thread has run.

        `deliver` of a host on a loop.
        """
        try:
            loop.call_soon_threadsafe(complete, jobs)
        except RuntimeError:  # The loop has ended, and every connection with it.
            for job in jobs:
                self.plane.release(job)

    def time_out(self, job: Job) -> Response:
        """Answer a request whose job has passed its deadline; a job that has not begun is skipped."""
        job.cancel()
        return self._refuse(job.exchange, self.plane.deadline_error(job))

    def refuse_body(self, request: Request) -> Response:
        """Answer a body that is larger than the limit, or than memory has room for; it is unread."""
        self.pipeline.identify(request, request.headers.get(b"x-request-id"))
        try:
            request.route, request.params = self.router.find(request.method, request.path)
        except LadingError:
            request.route = None  # The body is refused either way; only the form of the refusal differs.
        if request.refusal is not None:
            return self._refuse(request, request.refusal)
        length = request.headers.get(b"content-length", b"more").decode("latin-1")
        return self._refuse(request, too_large(self.max_body_bytes, length))

    def count_unread(self, status: int) -> None:
        """Count what a host has refused without reading it as a request."""
        self.metrics.counters("", 0, NO_ROUTE).count_unread(status)

    def _answer(self, request: Request, response: Response, error: LadingError | None = None) -> Response:
        response.request_id = request.request_id
        if request.job is not None:
            response.model = request.job.served.loaded
        self.pipeline.observe(request, response.status, len(request.body), len(response.body), error)
        if self.pipeline.adds_headers:
            response.headers = (*response.headers, *self.pipeline.answer_headers(request))
        request.response = response
        return response

    def _refuse(self, request: Request, error: LadingError) -> Response:
        route, request.refused_with, request.refused_why = request.route, type(error), error.message
        refuse = route.refuse if route is not None else self.router.refusing(request.path)
        return self._answer(request, refuse(error), error)
