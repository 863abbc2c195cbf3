"""The application: from a whole request to a whole response, whatever server hosts it.

A host (`asgi`, `fastlane`) calls `begin`. It gets the response, or None while the request's job is on its
way through a batcher; the job comes back to the host's `deliver`, and `finish` makes the response.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from lading.errors import BodyInvalid, LadingError, ModelNotReady, NotFound, RunFailed
from lading.ref import version_number
from lading.server.http.content_encoding import too_large, unpacked
from lading.server.http.messages import Request, Response, Route, Router
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Deliver, Job, request_ids
from lading.server.metrics import Metrics

log = logging.getLogger("lading.server")

_LONGEST_ID = 128
_CLIENT_GONE = 499
_NO_ROUTE = "http"


class App:
    """Answers requests over the data plane; holds the routes of every protocol."""

    def __init__(self, plane: DataPlane, router: Router, metrics: Metrics, max_body_bytes: int) -> None:
        self.plane = plane
        self.router = router
        self.metrics = metrics
        self.max_body_bytes = max_body_bytes
        self._ids = request_ids()

    def begin(self, request: Request, deliver: Deliver, gathered: list[Job] | None = None) -> Response | None:
        """Answer `request` at once, or start its job and give None.

        A started job comes back through `deliver`, in another thread and among others, with ``request`` in
        it; the host then calls `finish`, once for each. The route may be set already. A host that has more
        requests in hand lets cheap jobs be `gathered`, has the data plane run them together, and calls
        `finish` for each.
        """
        self._identify(request)
        try:
            if request.route is None:
                request.route, request.params = self.router.find(request.method, request.path)
            if b"content-encoding" in request.headers and request.body:
                encoding = request.headers[b"content-encoding"]
                request.body = unpacked(request.body, encoding, self.max_body_bytes)
        except LadingError as error:
            return self._refuse(request, error)
        return self._start(request, request.route, deliver, gathered)

    def again(self, request: Request, deliver: Deliver) -> Response | None:
        """Start a request anew whose version was unloaded after it had been found, as `begin` did."""
        assert request.route is not None
        request.job = None
        return self._start(request, request.route, deliver, None)

    def _identify(self, request: Request) -> None:
        request.began = time.perf_counter()
        given = request.headers.get(b"x-request-id")
        request.request_id = given if given and len(given) <= _LONGEST_ID else next(self._ids)

    def _start(
        self, request: Request, route: Route, deliver: Deliver, gathered: list[Job] | None
    ) -> Response | None:
        plane = self.plane
        if plane.splits:
            plane = plane.seen_by(request.headers)
        try:
            outcome = route.handler(request, plane)
            if type(outcome) is Job:
                request.job, outcome.request = outcome, request
                if gathered is not None and self.plane.is_cheap(outcome):
                    gathered.append(outcome)
                    return None
                try:
                    done = self.plane.start(outcome, deliver)
                except ModelNotReady:
                    # Unloaded after it was found: what replaced it is found now.
                    request.job = None
                    outcome = route.handler(request, self.plane.seen_by(request.headers))
                    assert isinstance(outcome, Job)
                    request.job, outcome.request = outcome, request
                    done = self.plane.start(outcome, deliver)
                return self.finish(outcome) if done else None
            assert isinstance(outcome, Response)
            return self._answer(request, outcome)
        except LadingError as error:
            if request.job is None and plane is not self.plane:  # Else `_answer` tells of it.
                plane.saw_refusal(time.perf_counter() - request.began, type(error).__name__)
            return self._refuse(request, error)
        except RecursionError:
            nested = BodyInvalid("body", expected="values nested less deeply", found="more than can be read")
            return self._refuse(request, nested)
        except Exception:  # noqa: BLE001 - logged with its traceback, answered with a sentence
            return self._fail(request)

    def finish(self, job: Job) -> Response:
        """Make the response of a job that is done, and let go of the version it ran on."""
        request: Request = job.request
        try:
            if request.response is not None:
                return request.response
            if job.error is not None or job.result is None:
                return self._answer(request, _failed(job))
            return self._answer(request, job.encode(job.result))
        except LadingError as error:
            return self._refuse(request, error)
        except Exception:  # noqa: BLE001 - logged with its traceback, answered with a sentence
            return self._fail(request)
        finally:
            if job.taken:
                self.plane.release(job)
            # A job and its request name each other: left so, only the garbage collector frees them, which
            # costs a cheap request 4 µs.
            request.job = None

    def hand_back(
        self, jobs: list[Job], loop: asyncio.AbstractEventLoop, finish: Callable[[list[Job]], None]
    ) -> None:
        """Have `loop` call `finish` with jobs that another thread has run; `deliver` of a host on a loop."""
        try:
            loop.call_soon_threadsafe(finish, jobs)
        except RuntimeError:  # The loop has ended, and every connection with it.
            for job in jobs:
                self.plane.release(job)

    def give_up(self, job: Job) -> Response:
        """Answer a request whose job takes longer than it may; the job is skipped if it has not begun."""
        job.cancel()
        return self._refuse(job.request, self.plane.too_late(job))

    def refuse_body(self, request: Request) -> Response:
        """Answer a body that is larger than the limit, without having read it."""
        self._identify(request)
        try:
            request.route, request.params = self.router.find(request.method, request.path)
        except LadingError:
            request.route = None  # The body is refused either way; only the form of the refusal differs.
        length = request.headers.get(b"content-length", b"more").decode("latin-1")
        return self._refuse(request, too_large(self.max_body_bytes, length))

    def count_unread(self, status: int) -> None:
        """Count what a host has refused without reading it as a request."""
        self.metrics.stats("", 0, _NO_ROUTE).refused(status)

    def _answer(self, request: Request, response: Response, error: LadingError | None = None) -> Response:
        job, route = request.job, request.route
        protocol = route.protocol if route is not None else _NO_ROUTE
        response.request_id = request.request_id
        if job is not None:
            response.served = job.served
            stats = self.metrics.of(job.served, protocol)
        else:
            name, version = self._about(request) if error is not None else ("", 0)
            stats = self.metrics.stats(name, version, protocol)
        took_s = time.perf_counter() - request.began
        stats.answered(response.status, took_s, job, len(request.body), len(response.body))
        if error is not None:
            stats.failed(error)
        request.response = response
        if job is not None and self.plane.watches and response.status != _CLIENT_GONE:
            reason = type(error).__name__ if error is not None else ""
            self.plane.saw(job, request.request_id, took_s, reason)
        return response

    def _about(self, request: Request) -> tuple[str, int]:
        """Return the model and version that a refused request was about; nothing where there is none."""
        route, params = request.route, request.params
        if route is None or not (route.hot or "name" in params):
            return "", 0
        number = version_number(params.get("version", ""))
        try:
            served = self.plane.find(params.get("name"), number, params.get("tag", params.get("label")))
        except (NotFound, ModelNotReady):
            return "", 0
        return served.name, served.version

    def _refuse(self, request: Request, error: LadingError) -> Response:
        route = request.route
        refuse = route.refuse if route is not None else self.router.refusing(request.path)
        return self._answer(request, refuse(error), error)

    def _fail(self, request: Request) -> Response:
        # A defect of ours: the client gets a sentence and an id, the log gets the traceback.
        request_id = request.request_id.decode("latin-1")
        log.exception("request %s failed", request_id)  # noqa: LOG004 - called in the handler
        hint = f"the server's log has it under x-request-id {request_id}"
        return self._refuse(request, RunFailed("internal error", hint=hint))


def _failed(job: Job) -> Response:
    if job.error is not None:
        raise job.error
    return Response(status=_CLIENT_GONE)  # Nobody reads this, but it is counted.
