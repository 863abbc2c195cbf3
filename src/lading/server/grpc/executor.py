"""The threads that answer gRPC calls: what grpcio asks of an executor, and nothing more.

`ThreadPoolExecutor` makes a future with a condition for every call and takes several locks on its way, which
a cheap call pays dearly.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger("lading.server")


class CallInHand:
    """One call in hand, as grpcio sees it: it wants to be told when the call is done."""

    __slots__ = ("_callbacks", "_done", "_work")

    def __init__(self, work: Callable[..., object], given: tuple[Any, ...]) -> None:
        self._work = (work, given)
        self._callbacks: list[Callable[[CallInHand], object]] = []
        self._done = False

    def add_done_callback(self, callback: Callable[[CallInHand], object]) -> None:
        """Call `callback` once the work is done, or now."""
        self._callbacks.append(callback)
        if self._done:
            self._tell()

    def run(self) -> None:
        """Do the work; grpcio's own catches what goes wrong in it."""
        work, given = self._work
        try:
            work(*given)
        except Exception:
            log.exception("a gRPC call failed outside its method")
        self._done = True
        self._tell()

    def _tell(self) -> None:
        # Two threads may be here at once; a list gives each of its members once.
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            callback(self)


class CallThreads:
    """At most `most` threads, started as they are needed; what comes when all are busy waits its turn."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: queue.SimpleQueue[CallInHand | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # Less than zero: calls that wait for a thread.
        self._started = 0

    def submit(self, work: Callable[..., object], *given: Any) -> CallInHand:
        """Have a thread do `work`."""
        call = CallInHand(work, given)
        self._waiting.put(call)
        with self._lock:
            self._idle -= 1
            starts = self._idle < 0 and self._started < self._most
            if starts:
                self._started += 1
                name = f"grpc {self._started}"
        if starts:
            threading.Thread(target=self._answer, name=name, daemon=True).start()
        return call

    def stop(self) -> None:
        """End the threads, each after the call in hand; what waits is dropped."""
        with self._lock:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            for _ in range(self._started):
                self._waiting.put(None)

    def _answer(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            call = self._waiting.get()
            if call is None:
                return
            call.run()
            del call  # Not kept until the next comes.
