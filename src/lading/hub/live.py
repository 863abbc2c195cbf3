"""Live updates: one stream of server-sent events per open page, which says that the page would say more now.

A stream carries no content. The browser asks for the page again, which is made and drawn once per change,
however many browsers display it. While no page is open, nothing here runs.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse

from lading.hub.follower import Follower, Known

log = logging.getLogger("lading.hub")

MOST_STREAMS = 200
"""So many pages are kept up to date at once; each costs a connection."""

ALIVE_EVERY_S = 10.0
_SEND_WITHIN_S = 15.0
_RECONNECT_MS = 2000
_FULL_RETRY_MS = 30_000
# Streams end by themselves: a browser that went away without a word keeps its place no longer than that.
_LONGEST_S = 900.0
_TICK_S = 0.25
# A page that takes 0.1 s of CPU is made again after 2 s, and all of them together take a tenth of a core.
_PAUSE_FOR_COST = 20
_PAUSE_FOR_ALL = 10
_MOST_DRAWN = 64


class Content(msgspec.Struct, frozen=True):
    """What a page would say: the view or the error, and an ``id`` that differs if its content does."""

    made: Any
    id: str


Make = Callable[[Request], Awaitable[tuple[Content, float]]]
"""Makes what a page would say, and returns the seconds of CPU that this took."""

Restate = Callable[[Content, str], Content]
"""Returns the same content with a reason why it is not newer."""

Draw = Callable[[Request, Content], Awaitable[Any]]


class Watch:
    """One address that somebody has open: its content, and what was drawn of it."""

    def __init__(self, request: Request, make: Make, draw: Draw) -> None:
        self.request = request
        self.make = make
        self.draw = draw
        self.content: Content | None = None
        self.streams = 0
        # By the steady clock, as all that is due here.
        self.due = 0.0
        self.changed = asyncio.Event()
        self.first = asyncio.Lock()
        self.drawn: dict[tuple[str, str], asyncio.Task[Any]] = {}

    def put(self, content: Content) -> None:
        """Take new content, and wake the streams if it says something else."""
        if self.content is None or content.id != self.content.id:
            self.content = content
            self.drawn = {}
            self.wake()

    def wake(self) -> None:
        """Have every stream look again."""
        # Another event first: who is woken waits for the next change with it.
        event, self.changed = self.changed, asyncio.Event()
        event.set()


class Live:
    """The pages that are open, looked at again whenever the follower has read the catalog.

    `ending` says that the server shuts down: its streams end at once then.
    """

    def __init__(
        self,
        follower: Follower,
        restate: Restate,
        ending: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._follower = follower
        self._restate = restate
        self._ending = ending
        self._watches: dict[str, Watch] = {}
        self._task: asyncio.Task[None] | None = None
        self.open_streams = 0
        self._is_closed = False

    def open(self, address: str, watch: Callable[[], Watch], last_id: str) -> StreamingResponse:
        """Return the stream of a page; `last_id` is of the content that the browser has."""
        if self.open_streams >= MOST_STREAMS:
            return _Events(_full())
        return _Events(self._events(address, watch, last_id))

    async def page(self, address: str, request: Request, key: tuple[str, str]) -> Any:
        """Return the page as it was drawn for all that have it open, or None if nobody has.

        `key` is its language and the cookies: a page may have the name of the person who is signed in.
        """
        watch = self._watches.get(address)
        if watch is None or watch.content is None:
            return None
        task = watch.drawn.get(key)
        if task is None:
            if len(watch.drawn) >= _MOST_DRAWN:
                watch.drawn.clear()
            # A task of its own: the browser that came first may go while others wait.
            task = watch.drawn[key] = asyncio.create_task(_drawn(watch, request, watch.content))
        return await asyncio.shield(task)

    async def _events(
        self, address: str, make_watch: Callable[[], Watch], last_id: str
    ) -> AsyncGenerator[str, None]:
        watch = self._watches.get(address) or self._watches.setdefault(address, make_watch())
        watch.streams += 1
        self.open_streams += 1
        # Not all at the same second: they would all come back at the same second.
        until = time.monotonic() + _LONGEST_S * (1 + secrets.randbelow(100) / 1000)
        try:
            # WHATWG HTML, 9.2.6: `retry` is when the browser comes back after the stream has ended.
            yield f"retry: {_RECONNECT_MS}\n\n"
            self._start()
            # Of many browsers that come at once, the first makes the page and the others wait for it.
            async with watch.first:
                if watch.content is None:
                    await self._look(watch)
            yield self._alive()
            while not self._is_closed and time.monotonic() < until:
                changed = watch.changed
                if watch.content is not None and watch.content.id != last_id:
                    last_id = watch.content.id
                    yield f"id: {last_id}\nevent: changed\ndata: {self._times()}\n\n"
                try:
                    await asyncio.wait_for(changed.wait(), ALIVE_EVERY_S)
                except TimeoutError:
                    yield self._alive()
        finally:
            self.open_streams -= 1
            watch.streams -= 1
            # Compared by identity: another stream may have put a newer watch there.
            if not watch.streams and self._watches.get(address) is watch:
                del self._watches[address]

    def _alive(self) -> str:
        return f"event: alive\ndata: {self._times()}\n\n"

    def _times(self) -> str:
        knowledge = self._follower.known.knowledge
        read_at = knowledge.read_at if knowledge is not None else 0.0
        return f'{{"now": {self._clock():.3f}, "read_at": {read_at:.3f}}}'

    def _start(self) -> None:
        # Not when the application is made: there may be no event loop yet.
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Look at all open pages after each reading of the catalog, until none is open."""
        # Replaced as a whole with each reading, so that another object means another reading.
        seen: Known | None = self._follower.known
        rest_until = 0.0
        while self.open_streams:
            await asyncio.sleep(_TICK_S)
            if self._ending():
                self._close()
                return
            known, now = self._follower.known, time.monotonic()
            if known is seen or now < rest_until:
                continue
            seen = known
            cost_s = 0.0
            for watch in list(self._watches.values()):
                if watch.content is not None and (watch.due <= now or known.failure):
                    cost_s += await self._look(watch)
            rest_until = time.monotonic() + cost_s * _PAUSE_FOR_ALL

    async def _look(self, watch: Watch) -> float:
        known = self._follower.known
        if known.failure and watch.content is not None:
            # The catalog is not asked while it does not answer: what was known is displayed, with the reason.
            watch.put(self._restate(watch.content, known.failure))
            return 0.0
        try:
            content, cost_s = await watch.make(watch.request)
        except Exception:  # The edge of a task: it keeps all other pages up to date.
            log.exception("the page %s cannot be kept up to date", watch.request.url.path)
            return 0.0
        # The CPU and not the time: a page that waits for the catalog costs nobody anything.
        watch.due = time.monotonic() + cost_s * _PAUSE_FOR_COST
        watch.put(content)
        return cost_s

    def _close(self) -> None:
        """End all streams; browsers come back when a server answers again."""
        self._is_closed = True
        for watch in self._watches.values():
            watch.wake()


async def _drawn(watch: Watch, request: Request, content: Content) -> Any:
    return await watch.draw(request, content)


async def _full() -> AsyncGenerator[str, None]:
    yield f"retry: {_FULL_RETRY_MS}\n\nevent: full\ndata: {MOST_STREAMS}\n\n"


class _Events(StreamingResponse):
    """A stream of events. A browser that reads nothing for a while is dropped, and comes back if it lives."""

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        self._events = events
        # Proxies keep back what they take for a page.
        headers = {"x-accel-buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)

    async def stream_response(self, send: Any) -> None:
        """Send the events, each within a time."""

        async def send_in_time(message: Any) -> None:
            await asyncio.wait_for(send(message), _SEND_WITHIN_S)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            log.warning("a browser has read no live updates for %g s: it was dropped", _SEND_WITHIN_S)
        finally:
            # Its place is free at once, and not when the garbage collector comes.
            await self._events.aclose()
