"""One turn of the event loop for all hot connections: what they have sent, then the answers, then the writes.

Reading, answering and writing one connection at a time would empty the processor's caches at every change
and wake the client's thread for every answer. Cheap requests that a turn finds together run as one. Parses
no HTTP; a connection (`fastlane`) does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lading.errors import LadingError
from lading.server.http.exchange import App
from lading.server.http.messages import LONGEST_REMEMBERED, Request, Route
from lading.server.inference.job import Job

log = logging.getLogger("lading.server")

END_OF_HEAD = b"\r\n\r\n"
LONGEST_HEAD = 1024
"""Longest head that is remembered, in bytes."""

_REMEMBERED = 4096
_REMEMBERED_HEADS = 512
_STAGE = 64
"""How many connections are answered before the first of them sees its answer."""


class Connection(Protocol):
    """What a lane wants of a connection."""

    transport: Any

    def parse(self, data: bytes) -> None:
        """Take `data` apart; a whole hot request in it is answered, or its job is started."""
        ...

    def send(self) -> None:
        """Write the answer that is kept."""
        ...


class HotRoute(NamedTuple):
    """A request line that names a hot route, and what the router made of it."""

    method: str
    path: str
    route: Route
    params: Mapping[str, str]


class Head(NamedTuple):
    """A hot request's line and headers that the parser has read: byte for byte the same mean the same."""

    hot: HotRoute
    headers: Mapping[bytes, bytes]
    body_bytes: int


class Stage:
    """What the connections of one event loop share: the application, its hot routes, the way back.

    ``small_digits`` is how many digits a content-length may have without need to look at its value.
    ``gathered`` and ``answered`` hold the jobs and the answers of the stage that is under way; None where
    one connection alone is answered, or nothing is under way.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.deliver = self._from_thread  # One object, by which the batcher groups what it hands back.
        self.now = 0.0
        self.small_digits = len(str(app.max_body_bytes)) - 1
        self._loop: asyncio.AbstractEventLoop | None = None
        self.gathered: list[Job] | None = None
        self.answered: list[Connection] | None = None
        self._received: list[tuple[Connection, bytes]] = []
        self._routes: dict[tuple[bytes, bytes], HotRoute] = {}
        self.heads: dict[bytes, Head] = {}
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._head = b""

    def tick(self, now: float) -> None:
        """Set the time that connections note: ten times a second is enough for their limits."""
        self.now = now

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take the loop to which threads hand finished jobs."""
        if self._loop is None:
            self.now = loop.time()
        self._loop = loop

    def receive(self, connection: Connection, data: bytes) -> None:
        """Keep what a connection has sent until the loop has read the others."""
        if not self._received:
            assert self._loop is not None
            self._loop.call_soon(self.turn)
        self._received.append((connection, data))

    def turn(self) -> None:
        """Answer what has been received, and write the answers."""
        received, self._received = self._received, []
        if len(received) == 1:
            self._parse(*received[0])
            return
        try:
            for at in range(0, len(received), _STAGE):
                self.gathered, self.answered = [], []
                for connection, data in received[at : at + _STAGE]:
                    self._parse(connection, data)
                self.settle()
        finally:
            self.gathered = self.answered = None

    def settle(self) -> None:
        """Run the jobs of this stage, and write its answers."""
        if self.gathered:
            gathered, self.gathered = self.gathered, []
            self.app.plane.run_together(gathered)
            for job in gathered:
                job.request.waiter.settle(job)
        self.flush()

    def flush(self) -> None:
        """Write the answers of this stage."""
        if self.answered:
            answered, self.answered = self.answered, []
            for connection in answered:
                connection.send()

    def find(self, method: bytes, url: bytes) -> HotRoute | None:
        """Return the hot route of a request line, None where it has none; remembers what it found."""
        key = (method, url)
        try:
            return self._routes[key]
        except KeyError:
            found = self._find(method, url)
            if found is not None and len(url) <= LONGEST_REMEMBERED:
                if len(self._routes) >= _REMEMBERED:
                    self._routes.clear()
                self._routes[key] = found
            return found

    def remember(self, text: bytes, received: int, request: Request) -> None:
        """Keep the head that `text` begins with, of a hot request of which `received` bytes came in all."""
        at = text.find(END_OF_HEAD) + len(END_OF_HEAD)
        body_bytes = int(request.headers.get(b"content-length", b"0"))
        # More bytes than that: another request, or line ends between two, came along.
        if at > LONGEST_HEAD or at + body_bytes != received or request.route is None:
            return
        if len(self.heads) >= _REMEMBERED_HEADS:
            self.heads.clear()
        hot = HotRoute(request.method, request.path, request.route, request.params)
        self.heads[text[:at]] = Head(hot, request.headers, body_bytes)

    def head(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the status line and the default headers of a 200 that carries JSON; made once a second."""
        if default_headers is not self._default_headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in default_headers)
            self._head = b"%b%bcontent-type: application/json\r\ncontent-length: " % (STATUS_LINE[200], lines)
            self._default_headers = default_headers
        return self._head

    def _find(self, method: bytes, url: bytes) -> HotRoute | None:
        if b"?" in url or b"%" in url or not url.isascii():
            return None
        try:
            route, params = self.app.router.find(method.decode("ascii"), url.decode("ascii"))
        except LadingError:
            return None  # Not hot: the application refuses it with its sentence.
        return HotRoute(method.decode("ascii"), url.decode("ascii"), route, params) if route.hot else None

    def _from_thread(self, jobs: list[Job]) -> None:
        assert self._loop is not None
        self.app.hand_back(jobs, self._loop, self._finish)

    def _finish(self, jobs: list[Job]) -> None:
        self.answered = []
        try:
            for job in jobs:
                request = job.request
                self.app.finish(job)
                # A request and its waiter name each other: see `App.finish`.
                waiter, request.waiter = request.waiter, None
                waiter.done()
            self.flush()
        finally:
            self.answered = None

    def _parse(self, connection: Connection, data: bytes) -> None:
        try:
            connection.parse(data)
        except Exception:
            log.exception("a connection failed")
            connection.transport.abort()
