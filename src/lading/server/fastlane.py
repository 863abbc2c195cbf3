"""The fast lane: hot routes answered inside uvicorn's protocol class, without a scope or a task.

Everything that is not plainly a hot request (other routes, `Expect`, chunked bodies, upgrades,
what is pipelined behind an unfinished answer, a client that does not read) goes the way uvicorn made for
it, to the same application under ASGI. Parsing, keep-alive, flow control and shutdown stay uvicorn's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from lading.errors import LadingError
from lading.server.app import App
from lading.server.http import JSON, Request, Response, Route
from lading.server.job import Job

_REMEMBERED = 4096


class Hot(NamedTuple):
    """A request line that names a hot route, and what the router made of it."""

    method: str
    path: str
    route: Route
    params: Mapping[str, str]


class Lane:
    """What the connections of one event loop share: the application, its hot routes, the way back.

    ``small_digits`` is how many digits a content-length may have without need to look at its value.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.deliver = self._from_thread  # One object, by which the batcher groups what it hands back.
        self.now = 1.0
        self.small_digits = len(str(app.max_body_bytes)) - 1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._routes: dict[tuple[bytes, bytes], Hot | None] = {}
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._head = b""

    def tick(self, now: float) -> None:
        """Set the time that connections note: ten times a second is enough for their limits."""
        self.now = now

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop to which threads hand finished jobs."""
        self._loop = loop

    def find(self, method: bytes, url: bytes) -> Hot | None:
        """Give the hot route of a request line, None where it has none; remembers the answer."""
        key = (method, url)
        try:
            return self._routes[key]
        except KeyError:
            if len(self._routes) >= _REMEMBERED:
                self._routes.clear()
            found = self._routes[key] = self._find(method, url)
            return found

    def head(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """Give the status line and the default headers of a 200 that carries JSON; made once a second."""
        if default_headers is not self._default_headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in default_headers)
            self._head = b"%b%bcontent-type: application/json\r\ncontent-length: " % (STATUS_LINE[200], lines)
            self._default_headers = default_headers
        return self._head

    def _find(self, method: bytes, url: bytes) -> Hot | None:
        if b"?" in url or b"%" in url or not url.isascii():
            return None
        try:
            route, params = self.app.router.find(method.decode("ascii"), url.decode("ascii"))
        except LadingError:
            return None  # Not hot: the application refuses it with its sentence.
        return Hot(method.decode("ascii"), url.decode("ascii"), route, params) if route.hot else None

    def _from_thread(self, jobs: list[Job]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._finish, jobs)

    def _finish(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.app.finish(job)
            job.request.waiter.done()


class _Never:
    """Stands where uvicorn wakes a task that is not there."""

    def set(self) -> None:
        pass


class PendingAnswer:
    """A hot request whose job is under way; to uvicorn it looks like the cycle of an unfinished response."""

    __slots__ = ("_connection", "disconnected", "keep_alive", "message_event", "request", "response_complete")

    def __init__(self, connection: FastLane, request: Request, *, keep_alive: bool) -> None:
        self._connection = connection
        self.request = request
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _Never()

    def done(self) -> None:
        """Write the answer, if the client still waits for it."""
        if not self.response_complete:
            self.response_complete = True
            self._connection.answer_later(self)

    def give_up(self, app: App) -> None:
        """Answer without the job, which has taken too long."""
        assert self.request.job is not None
        app.give_up(self.request.job)
        self.done()


class FastLane(HttpToolsProtocol):
    """One connection. Make a subclass with `lane` set (`fast_lane`) for uvicorn's ``http`` setting."""

    lane: ClassVar[Lane]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.lane.attach(self.loop)
        self._hot: Request | None = None
        self._pending: PendingAnswer | None = None
        self._closing = False
        self._names: dict[bytes, bytes] = {}
        self._idle_since = self.lane.now
        self._receiving_since = 0.0

    # The parser's callbacks, in their order.

    def on_message_begin(self) -> None:
        """Note the beginning; uvicorn's scope is built only if the request turns out not to be hot."""
        self.url = b""
        self._names = {}
        self._hot = None
        self._idle_since = 0.0
        self._receiving_since = self.lane.now

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; of one that comes twice the last, for no handler reads a list."""
        self._names[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Choose the lane."""
        self._hot = self._as_hot()
        if self._hot is None:
            url = self.url
            super().on_message_begin()
            self.url = url
            for name, value in self._names.items():
                super().on_header(name, value)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect the body; its length is known to be within the limit."""
        if self._hot is None:
            super().on_body(body)
        else:
            self._hot.body = self._hot.body + body if self._hot.body else body

    def on_message_complete(self) -> None:
        """Answer, at once or when the job is done."""
        self._receiving_since = 0.0
        request = self._hot
        if request is None:
            super().on_message_complete()
            return
        self._hot = None
        keep_alive = self.parser.should_keep_alive() and not self._closing
        response = self.lane.app.begin(request, self.lane.deliver)
        if response is not None:
            self._write(response, keep_alive=keep_alive)
            return
        self._pending = PendingAnswer(self, request, keep_alive=keep_alive)
        request.waiter = self._pending
        self.cycle = self._pending  # type: ignore[assignment]

    # What uvicorn calls on the connection.

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the job whose client has gone."""
        if self._pending is not None and self._pending.request.job is not None:
            self._pending.response_complete = True
            self._pending.request.job.cancelled = True
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Finish what is in hand, a request still being received included, then close."""
        self._closing = True
        if self._hot is None:
            super().shutdown()

    def sweep(self, now: float) -> None:
        """End what lasts too long: a job past its deadline, an idle connection, half a request."""
        pending = self._pending
        if pending is not None and not pending.response_complete:
            job = pending.request.job
            if job is not None and job.overdue(time.monotonic()):
                pending.give_up(self.lane.app)
        elif self._idle_since and now - self._idle_since > self.timeout_keep_alive:
            self.timeout_keep_alive_handler()
        elif self._receiving_since and now - self._receiving_since > self.lane.app.plane.deadline_s:
            self.transport.close()

    def answer_later(self, pending: PendingAnswer) -> None:
        """Write the answer of a job, then go on with what was pipelined behind it."""
        self._pending = None
        response = pending.request.response
        assert response is not None
        if pending.disconnected or self.transport.is_closing():
            return
        self._write(response, keep_alive=pending.keep_alive and not self._closing)
        self.on_response_complete()

    def _as_hot(self) -> Request | None:
        """Give the request if it can take this lane."""
        parser = self.parser
        hot = self.lane.find(parser.get_method(), self.url)
        if hot is None or parser.should_upgrade():
            return None
        cycle = self.cycle
        if (cycle is not None and not cycle.response_complete) or self.flow.write_paused:
            return None
        headers = self._names
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or b"expect" in headers:
            return None
        if len(length) > self.lane.small_digits and (
            not length.isdigit() or int(length) > self.lane.app.max_body_bytes
        ):
            return None
        return Request(hot.method, hot.path, b"", headers, b"", hot.params, hot.route)

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        body, served = response.body, response.served
        parts = [
            self._head(response),
            b"%d\r\nx-request-id: %b\r\n" % (len(body), response.request_id),
            served.header_block if served is not None else b"",
            b"\r\n" if keep_alive else b"connection: close\r\n\r\n",
            body,
        ]
        self.transport.write(b"".join(parts))
        self.server_state.total_requests += 1
        # One sweep a second closes idle connections: a timer for every answer would cost 1–2 µs.
        self._idle_since = self.lane.now
        if not keep_alive:
            self.transport.close()

    def _head(self, response: Response) -> bytes:
        """Give the beginning of an answer, up to the value of its content-length."""
        default_headers = self.server_state.default_headers
        if response.status == 200 and response.content_type is JSON and not response.headers:
            return self.lane.head(default_headers)
        given = (*default_headers, (b"content-type", response.content_type), *response.headers)
        lines = b"".join(b"%b: %b\r\n" % header for header in given)
        return b"%b%bcontent-length: " % (STATUS_LINE[response.status], lines)


def fast_lane(app: App) -> type[FastLane]:
    """Make the protocol class that answers for `app`."""

    class Bound(FastLane):
        lane = Lane(app)

    return Bound
