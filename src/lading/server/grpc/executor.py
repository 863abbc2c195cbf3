"""The threads that answer gRPC calls: what grpcio needs of an executor, and nothing more.

`ThreadPoolExecutor` makes a future with a condition variable for every call and takes several locks, which
would cost a cheap call more than its prediction.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger("lading.server")


class CallFuture:
    """One call in flight, as grpcio sees it: it asks for a callback when the call is done."""

    __slots__ = ("_callbacks", "_done", "_work")

    def __init__(self, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._work = (work, arguments)
        self._callbacks: list[Callable[[CallFuture], object]] = []
        self._done = False

    def add_done_callback(self, callback: Callable[[CallFuture], object]) -> None:
        """Call `callback` once the work is done, or now."""
        self._callbacks.append(callback)
        if self._done:
            self._run_callbacks()

    def run(self) -> None:
        """Do the work; grpcio catches the errors of methods itself."""
        work, arguments = self._work
        try:
            work(*arguments)
        except Exception:
            log.exception("a gRPC call failed outside its method")
        self._done = True
        self._run_callbacks()

    def _run_callbacks(self) -> None:
        # Two threads may be here at the same time; `pop` returns each callback once.
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            callback(self)


class CallThreads:
    """At most `most` threads, started as they are needed; calls that come while all are busy wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: queue.SimpleQueue[CallFuture | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # Negative while calls wait for a thread.
        self._started = 0

    def submit(self, work: Callable[..., object], *arguments: Any) -> CallFuture:
        """Have a thread do `work`."""
        call = CallFuture(work, arguments)
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
        """End the threads, each after the call it answers; calls that wait are dropped."""
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
            del call  # Its arguments are not kept until the next call comes.
