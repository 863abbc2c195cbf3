"""Refusals of what a connection does, before there is a request that a route could refuse: bytes and log.

The log shows the first of each ten seconds with the client's address, and how many more there were: a client
that does everything wrong must not fill a disk.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lading.server.http.messages import JSON

log = logging.getLogger("lading.server")

_LINES_A_WINDOW = 10
_WINDOW_S = 10.0

Header = tuple[bytes, bytes]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Refusal(NamedTuple):
    """A status and the sentence that says why."""

    status: int
    sentence: str

    def headers(self) -> tuple[Header, ...]:
        """Return the headers of the answer, which is the connection's last."""
        length = b"%d" % len(self.body())
        return ((b"content-type", JSON), (b"content-length", length), (b"connection", b"close"))

    def body(self) -> bytes:
        """Return the sentence as JSON."""
        return msgspec.json.encode({"error": self.sentence})

    def answer(self, default_headers: Iterable[Header]) -> bytes:
        """Return the whole answer as it goes over the wire."""
        lines = b"".join(b"%b: %b\r\n" % header for header in (*default_headers, *self.headers()))
        return b"%b%b\r\n%b" % (STATUS_LINE[self.status], lines, self.body())

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:  # noqa: ARG002
        """Answer as an ASGI application: a refusal that has to wait for the answers before it."""
        start = {"type": "http.response.start", "status": self.status, "headers": list(self.headers())}
        await send(start)
        await send({"type": "http.response.body", "body": self.body()})


class RefusalLog:
    """Logs refusals with the address of the client, at most ten lines in ten seconds."""

    def __init__(self) -> None:
        self._window_since = 0.0
        self._lines = 0
        self._unlogged = 0

    def note(self, now: float, client: tuple[str, int] | None, what: str) -> None:
        """Log what a `client` was refused, or count it if there was too much of this already."""
        self.tick(now)
        if self._lines == _LINES_A_WINDOW:
            self._unlogged += 1
            return
        if not self._lines:
            self._window_since = now
        self._lines += 1
        log.warning("%s: %s", client[0] if client else "a local client", what)

    def tick(self, now: float) -> None:
        """Log how many refusals were not logged, once their time is over."""
        if self._lines and now - self._window_since >= _WINDOW_S:
            if self._unlogged:
                log.warning("%d more refusals of connections in %g s", self._unlogged, _WINDOW_S)
            self._lines = self._unlogged = 0
