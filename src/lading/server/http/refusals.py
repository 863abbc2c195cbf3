"""Refusals of what a connection does, before there is a request that a route could refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from lading.server.http.messages import JSON

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
