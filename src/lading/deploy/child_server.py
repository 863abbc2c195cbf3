"""A whole ``lading serve`` as a child process behind a Unix socket, and requests that are passed on to it.

For hosts that have an HTTP front of their own and want an ASGI application: they get the very server, with
all its protocols, its proof and its releases, and none of its threads or models in their process. Restarts
nothing: a host replaces what has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from lading.errors import ModelNotReady, ServerUnavailable
from lading.runtime.host.signals import how_it_ended

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("lading.deploy")

POLL_S = 0.05
HEALTH_TIMEOUT_S = 5.0
_WITH_PARENT = (
    "import sys; from lading.runtime.host.signals import end_with_parent; "
    "end_with_parent(int(sys.argv.pop(1))); "
    "from lading.cli import main; sys.exit(main(sys.argv[1:]))"
)
"""``python -m lading``, but it ends with the thread that has started it."""
_JSON = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
_ENDED = b'{"error":"the server of this replica has ended: ask again"}'
_ORIGIN = "http://server"
"""Of the socket, which has no name; requests that are passed on keep the `host` that they came for."""
_HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
"""Headers of one connection alone (RFC 9110, 7.6.1), and not of a request or its answer."""


class ChildServer:
    """A server of `refs`, or of the registry's releases without any; `options` are those of ``lading serve``.

    Headers named by `without` are left out of its answers: a host writes them itself.

    It lives as long as this object is not stopped, and ends with this process.
    """

    def __init__(
        self, refs: Sequence[str], options: Sequence[str] = (), *, without: Iterable[bytes] = ()
    ) -> None:
        self._left_out = _HOP_BY_HOP | {b"date"} | set(without)
        # A short path: names of sockets may have about a hundred characters.
        self._folder = Path(tempfile.mkdtemp(prefix="lading-", dir="/tmp"))
        self._socket = self._folder / "server"
        place = ["--host", f"unix:{self._socket}", "--grpc-port", "-1"]
        # A host that is killed takes it along: what nobody asks any more must not keep memory.
        self._process = subprocess.Popen(  # noqa: S603 - its arguments are lading's own
            [sys.executable, "-c", _WITH_PARENT, str(os.getpid()), "serve", *refs, *place, *options],
            start_new_session=True,
        )
        self._client: httpx.AsyncClient | None = None

    @property
    def pid(self) -> int:
        """The process of the server."""
        return self._process.pid

    async def until_ready(self) -> None:
        """Wait until every model has replayed its golden samples here.

        Raises `ModelNotReady` with the server's reason if one has failed, `ServerUnavailable` if the server
        has ended. Waits while it loads, or while nothing is released: a host has a limit of its own.
        """
        last = ""
        while True:
            self.check()
            health, reason = await self._health()
            if health == "ok":
                return
            if health == "failed":
                raise ModelNotReady("the server", expected="to be ready", found=reason)
            if reason != last:
                log.info("not ready: %s", last := reason)
            await asyncio.sleep(POLL_S)

    def check(self) -> None:
        """Raise `ServerUnavailable` if the server has ended."""
        code = self._process.poll()
        if code is not None:
            hint = "its last lines, in the log of this process, say why"
            raise ServerUnavailable("the server", expected="to run", found=how_it_ended(code), hint=hint)

    async def check_alive(self) -> None:
        """Raise `ServerUnavailable` if the server has ended or does not answer."""
        self.check()
        try:
            await self._connected().get("/v2/health/live", timeout=HEALTH_TIMEOUT_S)
        except httpx.HTTPError as error:
            failure = f"{type(error).__name__}, within {HEALTH_TIMEOUT_S:g} s"
            raise ServerUnavailable("the server", expected="an answer", found=failure) from error

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request under ASGI by what the server answers; neither is changed.

        503 if the server ends before it has answered: a host, or its front, may ask another one.
        """
        if scope["type"] != "http":
            return
        # Whole, because the server wants its length; it refuses what is too large by itself.
        body = await _body(receive)
        url = scope.get("root_path", "") + scope["path"]
        raw = scope.get("raw_path") or url.encode()
        query = scope["query_string"]
        request = self._connected().build_request(
            scope["method"],
            httpx.URL(_ORIGIN).copy_with(raw_path=raw + (b"?" + query if query else b"")),
            headers=[header for header in scope["headers"] if header[0].lower() not in _HOP_BY_HOP],
            content=body,
        )
        try:
            response = await self._connected().send(request, stream=True)
        except httpx.TransportError as error:
            log.warning("the server has not answered: %s", type(error).__name__)
            await send({"type": "http.response.start", "status": 503, "headers": _JSON})
            await send({"type": "http.response.body", "body": _ENDED})
            return
        try:
            kept = [header for header in response.headers.raw if header[0].lower() not in self._left_out]
            await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
            # As it was sent: it may be compressed, and its length is of those bytes.
            content = b"".join([chunk async for chunk in response.aiter_raw()])
            await send({"type": "http.response.body", "body": content})
        finally:
            await response.aclose()

    async def stop(self, timeout_s: float) -> None:
        """Drain the server and end it; what takes longer than `timeout_s` is cut off. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + timeout_s
            while self._process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(POLL_S)
        if self._process.poll() is None:
            # Its own children as well: each server has a session of its own.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        # Last: what it still answers while it drains comes by these connections.
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _health(self) -> tuple[str, str]:
        try:
            response = await self._connected().get("/health", timeout=HEALTH_TIMEOUT_S)
        except (httpx.ConnectError, httpx.TimeoutException):
            return "starting", "the server does not listen yet"
        answer = response.json()
        return answer["health"], answer.get("reason", "")

    def _connected(self) -> httpx.AsyncClient:
        # Made in the loop that uses it. Without a limit in time: the server answers when its own has passed.
        if self._client is None:
            transport = httpx.AsyncHTTPTransport(
                uds=str(self._socket), limits=httpx.Limits(max_connections=None)
            )
            # Not by the environment: a proxy named there would be asked instead of the socket.
            client = httpx.AsyncClient(transport=transport, base_url=_ORIGIN, timeout=None, trust_env=False)  # noqa: S113
            self._client = client
        return self._client


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)  # The client has gone; what is asked then reaches nobody.
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
