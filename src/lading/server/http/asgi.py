"""Hosts the application under ASGI 3, so that any ASGI server can; uvicorn does here.

Documentation pages go to a FastAPI application that is built when first asked for, because nothing else
needs it and importing it takes longer than loading a model.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from lading.access import READ_ALL
from lading.server.http.app import App
from lading.server.http.messages import Request, Response, Route
from lading.server.inference.job import Job
from lading.server.inference.request_memory import COUNTED_BYTES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_DOCS = ("/docs", "/docs/", "/openapi.json")
CERTIFICATE = "lading.certificate"
"""Where a scope has the names of the client's certificate."""

_LINGER_S = 10.0
"""How long the rest of a refused body is still read."""


class _ClientGone(Exception):
    """The client closed before it had sent its whole request; nobody waits for an answer."""


class AsgiHost:
    """The ASGI application over an `App`.

    ``make_pages`` makes the application of the documentation pages, if there are any.
    """

    def __init__(self, app: App, make_pages: Callable[[App], Any] | None = None) -> None:
        self._app = app
        self._make_pages = make_pages
        self._loop: asyncio.AbstractEventLoop | None = None
        self.deliver = self._from_thread  # One object, by which the batcher groups the jobs it returns.
        # No handler: what answers it is an application of its own, once this route lets a caller through.
        self.documentation_route = Route(
            "GET", _DOCS[0], _never, app.router.refuse, "documentation", rule=READ_ALL
        )
        self._docs: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request; only HTTP is spoken."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        self._loop = asyncio.get_running_loop()
        path, headers, cors = scope["path"], dict(scope["headers"]), self._app.cors
        if self._make_pages is not None and scope["method"] == "GET":
            local = self._app.router.local(path)
            if local in _DOCS:
                request = Request("GET", local, b"", headers)
                request.client, request.certificate = scope.get("client"), scope.get(CERTIFICATE, ())
                refusal = self._app.admit(request, self.documentation_route)
                if refusal is not None:
                    await _send(request, refusal, send)
                    return
                await self._documentation({**scope, "path": local, "root_path": ""}, receive, send)
                return
        request = Request(scope["method"], path, b"", headers, scope["query_string"])
        request.client, request.certificate = scope.get("client"), scope.get(CERTIFICATE, ())
        if cors is not None and cors.is_preflight(request.method, headers):
            await _send(request, cors.preflight(headers), send)
            return
        try:
            body = await self._read(request, receive)
        except _ClientGone:
            return
        if body is None:
            await _refuse(request, self._app.refuse_body(request), receive, send)
            return
        request.body = body
        await _send(request, await self._respond(request, receive), send)

    async def _respond(self, request: Request, receive: Receive) -> Response:
        response = self._app.dispatch(request, self.deliver)
        if response is not None:
            return response
        request.waiter = asyncio.get_running_loop().create_future()
        watch = asyncio.create_task(_cancel_when_gone(request, receive))
        if request.is_elsewhere:  # Its deadline is kept there.
            try:
                await request.waiter
            finally:
                watch.cancel()
            assert request.response is not None
            return request.response
        job = request.job
        assert job is not None
        try:
            await asyncio.wait_for(request.waiter, self._app.plane.deadline_s)
        except TimeoutError:
            return request.response or self._app.time_out(job)
        except asyncio.CancelledError:
            job.cancel()
            raise
        finally:
            watch.cancel()
        assert request.response is not None
        return request.response

    async def _read(self, request: Request, receive: Receive) -> bytes | None:
        """Return the whole body, or None as soon as it is known to be larger than there is room for."""
        limit = self._app.max_body_bytes
        length = request.headers.get(b"content-length", b"")
        if length.isdigit() and (len(length) > 18 or int(length) > limit):
            return None
        expected = int(length) if length.isdigit() else 0
        if expected >= COUNTED_BYTES and not self._app.receive(request, expected):
            return None
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                return None
            # Of a body in chunks, whose length nobody knows before its end.
            if not expected and size >= COUNTED_BYTES and not self._app.receive(request, len(part)):
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts) if len(parts) > 1 else parts[0]

    def _from_thread(self, jobs: list[Job]) -> None:
        assert self._loop is not None
        self._app.post(jobs, self._loop, self._complete)

    def _complete(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._app.complete(job)
            waiter: asyncio.Future[None] = job.exchange.waiter
            if not waiter.done():
                waiter.set_result(None)

    async def _documentation(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._docs is None:
            assert self._make_pages is not None
            self._docs = self._make_pages(self._app)
        await self._docs(scope, receive, send)


def _never(request: Request, _plane: Any) -> Response:
    raise NotImplementedError(request.path)


async def _cancel_when_gone(request: Request, receive: Receive) -> None:
    """Take the job of a client that disconnects out of the queue."""
    # After the body ASGI has nothing else to receive.
    while (await receive())["type"] != "http.disconnect":
        pass
    request.is_gone = True
    if request.job is not None and not request.is_elsewhere:
        request.job.cancel()


async def _send(request: Request, response: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.all_headers()})
    body = b"" if request.method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})


async def _refuse(request: Request, response: Response, receive: Receive, send: Send) -> None:
    """Answer before the body has arrived, then read and drop the rest of it for a while before closing."""
    # Many clients read only after they have sent everything: with the connection closed they would not see
    # the answer (RFC 9112, section 9.6).
    headers = [*response.all_headers(), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    # A client that waits for `100 Continue` before a body of known length sends nothing now.
    if b"expect" not in request.headers or b"transfer-encoding" in request.headers:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
