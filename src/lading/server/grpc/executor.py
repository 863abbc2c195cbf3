"""The threads that answer gRPC calls whose message has come; a call that waits for its client has none."""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable

from lading.server.grpc.server_call import ServerCall

log = logging.getLogger("lading.server")

Work = Callable[[ServerCall, bytes], None]
"""Answers a message of a call."""


class CallThreads:
    """At most `most` threads, started as they are needed; `queued` more calls may wait while all are busy."""

    def __init__(self, most: int, queued: int) -> None:
        self._most = most
        self._queued = queued
        # A call that ends while it waits leaves at once; its token stays, and the thread that gets it finds
        # nothing to do.
        self._waiting: OrderedDict[ServerCall, tuple[Work, bytes]] = OrderedDict()
        self._tokens: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # Negative while tokens wait for a thread.
        self._started = 0
        self._busy = 0

    def submit(self, call: ServerCall, work: Work, data: bytes) -> bool:
        """Have a thread do `work`; return False if too many calls wait already."""
        with self._lock:
            if self._busy + len(self._waiting) >= self._most + self._queued:
                return False
            self._waiting[call] = work, data
            self._idle -= 1
            starts = self._idle < 0 and self._started < self._most
            if starts:
                self._started += 1
                name = f"grpc {self._started}"
        self._tokens.put(True)
        if starts:
            threading.Thread(target=self._answer, name=name, daemon=True).start()
        return True

    def discard(self, call: ServerCall) -> None:
        """Forget a call that has ended, if it still waits."""
        if call in self._waiting:
            with self._lock:
                self._waiting.pop(call, None)

    def stop(self) -> None:
        """End the threads, each after the call it answers; calls that wait are dropped."""
        with self._lock:
            self._waiting.clear()
            for _ in range(self._started):
                self._tokens.put(False)

    def _answer(self) -> None:
        busy = 0
        while True:
            with self._lock:
                self._idle += 1
                self._busy -= busy
            if not self._tokens.get():
                return
            with self._lock:
                busy = 1 if self._waiting else 0
                self._busy += busy
                if busy:
                    call, (work, data) = self._waiting.popitem(last=False)
            if busy:
                try:
                    work(call, data)
                except Exception:
                    log.exception("a gRPC call failed outside its method")
                    call.context.cancel()
                del call, work, data  # They are not kept until the next call comes.
