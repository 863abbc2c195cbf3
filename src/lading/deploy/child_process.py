"""One ``lading serve`` as a child process behind a Unix socket, and the connections to it.

Starts nothing a second time: `child_server` does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lading.errors import ModelNotReady, ServerUnavailable
from lading.runtime.host.signals import how_it_ended

Scope = MutableMapping[str, Any]

log = logging.getLogger("lading.deploy")

POLL_S = 0.05
HEALTH_TIMEOUT_S = 5.0
ENDS_WITHIN_S = 5.0
"""A process that ends is gone so soon after the kernel has closed its sockets."""
_WITH_PARENT = (
    "import sys; from lading.runtime.host.signals import end_with_parent; "
    "end_with_parent(int(sys.argv.pop(1))); "
    "from lading.cli import main; sys.exit(main(sys.argv[1:]))"
)
"""``python -m lading``, but it ends with the thread that has started it."""
_ORIGIN = "http://server"
"""Of the socket, which has no name; requests that are passed on keep the `host` that they came for."""
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
"""Headers of one connection alone (RFC 9110, 7.6.1), and not of a request or its answer."""


@dataclass(frozen=True)
class Answer:
    """A whole answer, with its body as it was sent, which may be compressed."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ChildProcess:
    """A server at `socket`; `arguments` are those of ``lading serve``."""

    def __init__(self, socket: Path, arguments: Sequence[str]) -> None:
        self._socket = socket
        place = ["--host", f"unix:{socket}", "--grpc-port", "-1"]
        # A host that is killed takes it along: what nobody asks any more must not keep memory.
        self._process = subprocess.Popen(  # noqa: S603 - its arguments are lading's own
            [sys.executable, "-c", _WITH_PARENT, str(os.getpid()), "serve", *arguments, *place],
            start_new_session=True,
        )
        self._client: httpx.AsyncClient | None = None

    @property
    def pid(self) -> int:
        """Return the id of the process."""
        return self._process.pid

    @property
    def ended(self) -> str:
        """Return how it has ended, in words; empty while it runs."""
        code = self._process.poll()
        return "" if code is None else how_it_ended(code)

    async def until_ready(self) -> None:
        """Wait until every model has replayed its golden samples here.

        Raises `ModelNotReady` with the server's reason if one has failed, `ServerUnavailable` if the server
        has ended. Waits while it loads, or while nothing is released: a host has a limit of its own.
        """
        last = ""
        while True:
            self._check()
            health, reason = await self._health()
            if health == "ok":
                return
            if health == "failed":
                raise ModelNotReady("the server", expected="to be ready", found=reason)
            if reason != last:
                log.info("not ready: %s", last := reason)
            await asyncio.sleep(POLL_S)

    async def check_alive(self) -> None:
        """Raise `ServerUnavailable` if the server has ended or does not answer."""
        self._check()
        try:
            await self._connected().get("/v2/health/live", timeout=HEALTH_TIMEOUT_S)
        except httpx.HTTPError as error:
            failure = f"{type(error).__name__}, within {HEALTH_TIMEOUT_S:g} s"
            raise ServerUnavailable("the server", expected="an answer", found=failure) from error

    async def has_ended(self) -> bool:
        """Return whether the server has ended, once a request to it has failed."""
        # The kernel closes the sockets of a process before it has ended.
        await self._end_within(ENDS_WITHIN_S)
        return bool(self.ended)

    async def ask(self, scope: Scope, body: bytes) -> Answer:
        """Return the whole answer to a request under ASGI; raises `httpx.TransportError` without one."""
        url = scope.get("root_path", "") + scope["path"]
        raw = scope.get("raw_path") or url.encode()
        query = scope["query_string"]
        request = self._connected().build_request(
            scope["method"],
            httpx.URL(_ORIGIN).copy_with(raw_path=raw + (b"?" + query if query else b"")),
            headers=[header for header in scope["headers"] if header[0].lower() not in HOP_BY_HOP],
            content=body,
        )
        response = await self._connected().send(request, stream=True)
        try:
            # As it was sent: it may be compressed, and its length is of those bytes.
            content = b"".join([chunk async for chunk in response.aiter_raw()])
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers.raw, content)

    async def stop(self, timeout_s: float) -> None:
        """Drain the server and end it; what takes longer than `timeout_s` is cut off. Idempotent."""
        if not self.ended:
            self._process.send_signal(signal.SIGTERM)
            await self._end_within(timeout_s)
        if not self.ended:
            # Its own children as well: each server has a session of its own.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        # Last: what it still answers while it drains comes by these connections.
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _end_within(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.ended and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)

    def _check(self) -> None:
        if self.ended:
            hint = "its last lines, in the log of this process, say why"
            raise ServerUnavailable("the server", expected="to run", found=self.ended, hint=hint)

    async def _health(self) -> tuple[str, str]:
        try:
            response = await self._connected().get("/health", timeout=HEALTH_TIMEOUT_S)
        except httpx.TransportError:
            # Not there yet, or ending: what waits for it looks at the process next.
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
