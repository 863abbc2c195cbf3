"""One turn of the event loop for all connections: read what they have sent, run the jobs, write the answers.

    receive ─▶ run: parse each connection ─▶ run_jobs: cheap jobs together ─▶ write_answers

Reading, answering and writing one connection at a time would empty the processor's caches at every change
and wake the client's thread for every answer. Cheap requests of one turn run as one. Parses no HTTP; a
connection (`protocol`) does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lading.errors import LadingError
from lading.server.http.app import App
from lading.server.http.messages import Request, Route
from lading.server.http.router import LONGEST_CACHED_PATH
from lading.server.http.slow_clients import ClientLimits, SlowReaders
from lading.server.inference.job import Job
from lading.server.inference.request_memory import COUNTED_BYTES
from lading.server.observe.refusal_log import RefusalLog

log = logging.getLogger("lading.server")

END_OF_HEAD = b"\r\n\r\n"
LONGEST_HEAD = 1024
"""Longest head that is cached, in bytes."""

LONGEST_WITH_CREDENTIAL = 8192
"""Longest head of which a credential is taken out; what is left is no longer than others."""

_CACHED_ROUTES = 4096
_CACHED_HEADS = 512
_CONNECTIONS_A_STAGE = 64
"""How many connections are answered before the first of them sees its answer."""
_AUTHORIZATION = b"authorization"
_CREDENTIALS = (b"proxy-authorization", b"cookie")
"""Headers that are not kept in memory beyond their request, beside the one that can be taken out."""
_SPELLINGS = (b"\r\nAuthorization: ", b"\r\nauthorization: ")
_UNIQUE = b"traceparent"
"""A header that no two requests have in common: kept, such heads would push out those that come again."""


class Connection(Protocol):
    """What a stage needs of a connection."""

    transport: Any

    def parse(self, data: bytes) -> None:
        """Parse `data`; a whole request on a fast route is answered, or its job is started."""
        ...

    def send(self) -> None:
        """Write the answer that is kept."""
        ...


class FastRoute(NamedTuple):
    """The fast route of a request line, with its parameters."""

    method: str
    path: str
    route: Route
    params: Mapping[str, str]


class Head(NamedTuple):
    """A request line and headers that the parser has read: byte for byte the same mean the same."""

    target: FastRoute
    headers: Mapping[bytes, bytes]
    body_bytes: int


class AroundCredential(NamedTuple):
    """A known head with a credential: what stands before and behind that, and where it begins and ends.

    Kept for a connection, whose next head is most often the same one, and need not be searched again.
    """

    before: bytes
    behind: bytes
    start: int
    stop: int
    end: int
    head: Head


def without_credential(head: bytes) -> tuple[bytes, bytes] | None:
    """Return a head without the line of its credential, and the credential; None without a plain one."""
    for spelling in _SPELLINGS:
        at = head.find(spelling)
        if at >= 0:
            end = head.find(b"\r\n", at + 2)
            if head[end + 2 : end + 3] in (b" ", b"\t"):  # The line goes on in the next (RFC 9112, 5.2).
                return None
            return head[:at] + head[end:], head[at + len(spelling) : end]
    return None


class Stage:
    """What the connections of one event loop share: the application, its fast routes, the way back.

    ``small_digits`` is how many digits a content-length may have without its value being looked at.
    ``pending_jobs`` and ``pending_writes`` hold the jobs and the answers of the stage under way; they are
    None if one connection alone is answered, or nothing is under way. ``now`` is on the loop's clock.
    """

    def __init__(self, app: App, limits: ClientLimits) -> None:
        self.app = app
        self.limits = limits
        self.refusals = RefusalLog()
        self.slow_readers = SlowReaders(limits, self.refusals, app.plane.memory)
        self.deliver = self._from_thread  # One object, by which the batcher groups the jobs it returns.
        self.now = 0.0
        self.small_digits = len(str(min(app.max_body_bytes, COUNTED_BYTES))) - 1
        self.heads: dict[bytes, Head] = {}
        # Whether heads with a credential are known without it: only where somebody looks at it.
        self.takes_credentials = app.pipeline.access is not None
        self.longest_kept = LONGEST_WITH_CREDENTIAL if self.takes_credentials else LONGEST_HEAD
        self.pending_jobs: list[Job] | None = None
        self.pending_writes: list[Connection] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._received: list[tuple[Connection, bytes]] = []
        self.routes: dict[tuple[bytes, bytes], FastRoute] = {}
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._head = b""

    def tick(self, now: float) -> None:
        """Set the time that connections note: ten times a second is enough for their limits."""
        self.now = now
        self.slow_readers.sweep(now)
        self.refusals.tick(now)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop to which threads return finished jobs."""
        if self._loop is None:
            self.now = loop.time()
        self._loop = loop

    def receive(self, connection: Connection, data: bytes) -> None:
        """Keep what a connection has sent until the loop has read the others."""
        if not self._received:
            assert self._loop is not None
            self._loop.call_soon(self.run)
        self._received.append((connection, data))

    def run(self) -> None:
        """Answer what has been received, and write the answers."""
        received, self._received = self._received, []
        if len(received) == 1:
            self._parse(*received[0])
            return
        try:
            for start in range(0, len(received), _CONNECTIONS_A_STAGE):
                self.pending_jobs, self.pending_writes = [], []
                for connection, data in received[start : start + _CONNECTIONS_A_STAGE]:
                    self._parse(connection, data)
                self.run_jobs()
        finally:
            self.pending_jobs = self.pending_writes = None

    def run_jobs(self) -> None:
        """Run the pending jobs together, and write the answers of this stage."""
        if self.pending_jobs:
            jobs, self.pending_jobs = self.pending_jobs, []
            self.app.plane.run_together(jobs)
            for job in jobs:
                job.exchange.waiter.deliver(job)
        self.write_answers()

    def write_answers(self) -> None:
        """Write the answers of this stage."""
        if self.pending_writes:
            connections, self.pending_writes = self.pending_writes, []
            for connection in connections:
                connection.send()

    def find(self, method: bytes, url: bytes) -> FastRoute | None:
        """Return the fast route of a request line, or None if it has none; caches what it finds."""
        key = (method, url)
        try:
            return self.routes[key]
        except KeyError:
            target = self._find(method, url)
            if target is not None and len(url) <= LONGEST_CACHED_PATH:
                if len(self.routes) >= _CACHED_ROUTES:
                    self.routes.clear()
                self.routes[key] = target
            return target

    def remember(self, text: bytes, received_bytes: int, request: Request) -> None:
        """Cache the head at the beginning of `text`, of a `request` of `received_bytes` in all."""
        headers = request.headers
        end = text.find(END_OF_HEAD) + len(END_OF_HEAD)
        body_bytes = int(headers.get(b"content-length", b"0"))
        # More bytes than that: another request, or line ends between two, came along.
        if end + body_bytes != received_bytes or request.route is None:
            return
        if _UNIQUE in headers or any(name in headers for name in _CREDENTIALS):
            return
        head = text[:end]
        if _AUTHORIZATION in headers:
            without = without_credential(head) if self.takes_credentials else None
            # Exactly one line of it, in exactly one line: then what is left means the same for every caller.
            if (
                without is None
                or without[1] != headers[_AUTHORIZATION]
                or _AUTHORIZATION in without[0].lower()
            ):
                return
            head = without[0]
            headers = {name: value for name, value in headers.items() if name != _AUTHORIZATION}
        if len(head) > LONGEST_HEAD:
            return
        if len(self.heads) >= _CACHED_HEADS:
            self.heads.clear()
        target = FastRoute(request.method, request.path, request.route, request.params)
        self.heads[head] = Head(target, headers, body_bytes)

    def find_around_credential(self, data: bytes, end: int) -> AroundCredential | None:
        """Return a known head of `end` bytes at the beginning of `data`, but for its credential, or None."""
        if not self.takes_credentials or end > LONGEST_WITH_CREDENTIAL:
            return None
        text = data[:end]
        without = without_credential(text)
        head = self.heads.get(without[0]) if without is not None else None
        # With a line end in it, a credential would be more than one header.
        if head is None or without is None or b"\r" in without[1] or b"\n" in without[1]:
            return None
        start = next(text.find(each) + len(each) for each in _SPELLINGS if each in text)
        stop = start + len(without[1])
        return AroundCredential(text[:start], text[stop:], start, stop, end, head)

    def head(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the status line and the default headers of a 200 with JSON; made once a second."""
        if default_headers is not self._default_headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in default_headers)
            self._head = b"%b%bcontent-type: application/json\r\ncontent-length: " % (STATUS_LINE[200], lines)
            self._default_headers = default_headers
        return self._head

    def _find(self, method: bytes, url: bytes) -> FastRoute | None:
        if b"?" in url or b"%" in url or not url.isascii():
            return None
        try:
            route, params = self.app.router.find(method.decode("ascii"), url.decode("ascii"))
        except LadingError:
            return None  # The application refuses it under ASGI, with its sentence.
        if not route.fast:
            return None
        return FastRoute(method.decode("ascii"), url.decode("ascii"), route, params)

    def _from_thread(self, jobs: list[Job]) -> None:
        assert self._loop is not None
        self.app.post(jobs, self._loop, self._complete)

    def _complete(self, jobs: list[Job]) -> None:
        self.pending_writes = []
        try:
            for job in jobs:
                request = job.exchange
                self.app.complete(job)
                # A request and its waiter name each other: see `App.complete`.
                waiter, request.waiter = request.waiter, None
                waiter.complete()
            self.write_answers()
        finally:
            self.pending_writes = None

    def _parse(self, connection: Connection, data: bytes) -> None:
        try:
            connection.parse(data)
        except Exception:
            log.exception("a connection failed")
            connection.transport.abort()
