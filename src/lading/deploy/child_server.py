"""A whole ``lading serve`` that is kept running as a child process, and requests that are passed on to it.

For hosts that have an HTTP front of their own and want an ASGI application: they get the very server, with
all its protocols, its proof and its releases, and none of its threads or models in their process. A server
that ends is started again, and asked again what it has not answered.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from lading.deploy.child_process import HOP_BY_HOP, Answer, ChildProcess, Scope
from lading.errors import ServerUnavailable

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("lading.deploy")

WAIT_S = 10.0
"""A request waits so long for a server that starts again, before its front may ask another replica."""
TRIES = 2
"""How often a request is passed on: one that ends each server it comes to must not go on to all of them."""
_JSON = (b"content-type", b"application/json")
_UNAVAILABLE = Answer(
    503, [_JSON, (b"retry-after", b"1")], b'{"error":"the server of this replica has ended: ask again"}'
)
# Not 503, upon which a front asks another replica.
_GIVEN_UP = Answer(
    500, [_JSON], b'{"error":"the server of this replica has twice failed to answer this request"}'
)


class ChildServer:
    """A server of `refs`, or of the registry's releases without any; `options` are those of ``lading serve``.

    Headers named by `without` are left out of its answers: a host writes them itself.

    It lives until this object is stopped, and ends with this process. If it ends by itself once it was
    ready, it is started again; if that fails, `check_alive` raises why, and a host replaces it.
    """

    def __init__(
        self, refs: Sequence[str], options: Sequence[str] = (), *, without: Iterable[bytes] = ()
    ) -> None:
        self._left_out = HOP_BY_HOP | {b"date"} | set(without)
        self._arguments = [*refs, *options]
        # A short path: names of sockets may have about a hundred characters.
        self._folder = Path(tempfile.mkdtemp(prefix="lading-", dir="/tmp"))
        self._starts = 0
        self._child = self._start()
        self._restart: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def pid(self) -> int:
        """Return the id of the server's process, which is another one after each start."""
        return self._child.pid

    async def until_ready(self) -> None:
        """Wait until every model has replayed its golden samples here; raises as `ChildProcess` does."""
        await self._child.until_ready()

    async def check_alive(self) -> None:
        """Raise `ServerUnavailable` if the server does not answer, also while it starts again.

        Starts it again if it has ended, and raises what has prevented that.
        """
        child = self._child
        if self._restart is None and child.ended and not self._stopped:
            self._replace(child)
        if self._restart is not None:
            if self._restart.done():
                self._restart.result()
            raise ServerUnavailable("the server", expected="an answer", found="that it starts again")
        await child.check_alive()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request under ASGI by what the server answers; neither is changed.

        A server that ends before it has answered is asked again once it is back: the host has the request,
        and predictions change nothing. 503 if that takes too long or fails, so that a host or its front asks
        another replica; 500 if the same request fails again.
        """
        if scope["type"] != "http":
            return
        # Whole, because the server wants its length; it refuses what is too large by itself.
        answer = await self._answer(scope, await _body(receive))
        kept = [header for header in answer.headers if header[0].lower() not in self._left_out]
        # Only now, and one directly after the other: of a host that is killed between them a client has half
        # an answer, which no front can ask for again.
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        await send({"type": "http.response.body", "body": answer.body})

    async def stop(self, timeout_s: float) -> None:
        """Drain the server and end it; what takes longer than `timeout_s` is cut off. Idempotent."""
        self._stopped = True
        if self._restart is not None:
            self._restart.cancel()
        await self._child.stop(timeout_s)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _answer(self, scope: Scope, body: bytes) -> Answer:
        for _ in range(TRIES):
            if not await self._is_up():
                return _UNAVAILABLE
            child = self._child
            try:
                return await child.ask(scope, body)
            except httpx.TransportError as error:
                log.warning("the server has not answered: %s", type(error).__name__)
            # Else it goes on, and has closed a connection that nothing was asked over for long.
            if await child.has_ended():
                if self._stopped:
                    return _UNAVAILABLE
                if child is self._child:
                    self._replace(child)
        return _GIVEN_UP

    async def _is_up(self) -> bool:
        """Return whether there is a server to ask, after a wait for one that starts again."""
        restart = self._restart
        if restart is None:
            return True
        # Goes on if a client has gone that waits for it: others wait as well.
        await asyncio.wait([restart], timeout=WAIT_S)
        return restart.done() and not restart.cancelled() and restart.exception() is None

    def _replace(self, ended: ChildProcess) -> None:
        log.warning("the server has ended (%s): it is started again", ended.ended)
        self._child = self._start()
        self._restart = asyncio.get_running_loop().create_task(self._until_back(ended, self._child))

    async def _until_back(self, ended: ChildProcess, child: ChildProcess) -> None:
        await ended.stop(0)
        # What this raises is raised by `check_alive`, again and again: nothing else starts it then.
        await child.until_ready()
        self._restart = None

    def _start(self) -> ChildProcess:
        # At a socket of its own: that of a server that was killed is still in its place.
        self._starts += 1
        return ChildProcess(self._folder / f"server-{self._starts}", self._arguments)


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(chunks)  # The client has gone; what is asked then reaches nobody.
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
