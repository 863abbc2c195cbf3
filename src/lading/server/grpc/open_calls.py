"""The calls that are open, and an end to those that wait for their clients too long or in too great a number.

Nothing is done for a call besides noting that it is open: ten times a second all are looked at.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import grpc

from lading.server.grpc.calls import address_of
from lading.server.grpc.executor import CallThreads
from lading.server.grpc.server_call import ServerCall, Wait
from lading.server.observe.refusal_log import RefusalLog
from lading.settings import ServeSettings

_STOPPING_S = 1.0
"""How long the first message of a call may still take when the server stops."""

_LEAVE_TOGETHER = 16
"""When there are too many calls, one of so many makes way: to look for one each time would take too long."""

Count = Callable[[str], None]
"""Counts a call that was ended, by the reason."""


class OpenCalls:
    """All calls of a server. ``message``, ``next_message`` and ``reading`` are what they wait for."""

    def __init__(self, settings: ServeSettings, threads: CallThreads, count: Count) -> None:
        limit_s = settings.grpc_client_timeout_s
        self.message = Wait("message_timeout", limit_s)
        self.next_message = Wait("stream_idle", settings.grpc_stream_idle_s)
        self.reading = Wait("answer_unread", limit_s)
        self._most = settings.grpc_max_open_calls
        self._threads = threads
        self._count = count
        self._log = RefusalLog()
        self._lock = threading.Lock()
        self._calls: dict[ServerCall, None] = {}

    def add(self, call: ServerCall) -> None:
        """Note a call until it has ended."""
        self._calls[call] = None
        if not call.context.add_callback(functools.partial(self._ended, call)):
            self._ended(call)
        elif len(self._calls) > self._most:
            self._make_room()

    def receive(self, call: ServerCall, then: Callable[[ServerCall, bytes | None], None]) -> None:
        """Have `then` called with the first message of a call, within the time that it may take."""
        self.add(call)
        call.receive(then, self.message)

    def end(self, call: ServerCall, code: grpc.StatusCode, details: str, reason: str) -> None:
        """End a call because of what its client did or did not do; count it by the `reason`, and log it."""
        peer = call.context.peer()  # One that is over names none.
        if call.finish(self.reading, code=code, details=details):
            self.note(address_of(peer), reason, f"{code.name}, {details}")

    def end_unqueued(self, call: ServerCall) -> None:
        """End a call for which there is no thread, and no place to wait for one."""
        details = "too many calls wait for a thread"
        self.end(call, grpc.StatusCode.RESOURCE_EXHAUSTED, details, "queue_full")

    def note(self, client: tuple[str, int] | None, reason: str, what: str) -> None:
        """Count what was ended because of a client, and log it."""
        with self._lock:
            self._count(reason)
            self._log.note(time.monotonic(), client, what)

    def busy_peers(self) -> set[tuple[str, int]]:
        """Return the clients that have sent a message and wait for its answer."""
        calls = [call for call in list(self._calls) if call.has_sent and call.wait is None]
        return {peer for call in calls if (peer := address_of(call.context.peer())) is not None}

    def sweep(self) -> None:
        """End the calls whose clients have taken longer than they may."""
        now = time.monotonic()
        for call in list(self._calls):
            wait = call.wait
            if wait is not None and now - call.wait_since > wait.limit_s:
                self._end_late(call, wait)
        with self._lock:
            self._log.tick(now)

    def stop(self) -> None:
        """Wait for clients no longer than a moment: streams end that have been answered."""
        now = time.monotonic()
        for call in list(self._calls):
            wait = call.wait
            if wait is self.next_message:
                call.context.cancel()
            elif wait is self.message:
                call.wait_since = min(call.wait_since, now + _STOPPING_S - wait.limit_s)

    def _ended(self, call: ServerCall) -> None:
        self._calls.pop(call, None)
        self._threads.discard(call)

    def _end_late(self, call: ServerCall, wait: Wait) -> None:
        if wait is self.reading:
            self._cut_off(call, wait.what, f"an answer was not read within {wait.limit_s:g} s")
            return
        if wait is self.message:
            details = f"expected the whole message within {wait.limit_s:g} s"
        else:
            details = f"expected another message of the stream within {wait.limit_s:g} s"
        self.end(call, grpc.StatusCode.DEADLINE_EXCEEDED, details, wait.what)

    def _make_room(self) -> None:
        """End those calls that have waited longest for their clients, first of all for the first message."""
        calls = [call for call in list(self._calls) if call.wait is not None]
        calls.sort(key=lambda call: (call.has_sent, call.wait_since))
        details = f"more than {self._most} calls are open, and this one has waited longest for its client"
        for call in calls[: max(1, self._most // _LEAVE_TOGETHER)]:
            if call.wait is self.reading:
                self._cut_off(call, "too_many_calls", details)
            else:
                self.end(call, grpc.StatusCode.RESOURCE_EXHAUSTED, details, "too_many_calls")
            # Its client may never read its status: what it takes now is little, and ends with its connection.
            self._calls.pop(call, None)

    def _cut_off(self, call: ServerCall, reason: str, why: str) -> None:
        """End a call whose client reads no status either."""
        call.wait = None
        self.note(address_of(call.context.peer()), reason, f"cut off: {why}")
        call.context.cancel()
