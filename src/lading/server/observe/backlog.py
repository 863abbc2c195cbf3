"""What is done about requests after they are answered: some at a time, in a thread, never waited for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from lading.server.observe.failure_log import FailureLog

Item = TypeVar("Item")

MOST_ITEMS = 50_000
TURN_S = 0.1


class Backlog(Generic[Item]):
    """Passes items to `handle` in the order in which they came, ten times a second, from its own thread.

    An item that comes while `most` wait is dropped and counted. The thread begins with the first item, so
    that a process may fork before.
    """

    def __init__(self, name: str, handle: Callable[[list[Item]], None], most: int = MOST_ITEMS) -> None:
        self._name = name
        self._handle = handle
        self._most = most
        self._items: deque[Item] = deque()
        self._dropped = 0
        self._counting = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def add(self, item: Item) -> None:
        """Keep an item for the next turn, if there is room. Any thread may call this."""
        if len(self._items) >= self._most:
            with self._counting:
                self._dropped += 1
            return
        # A deque takes items of several threads without a lock.
        self._items.append(item)
        if self._thread is None:
            self._start()

    def take_dropped(self) -> int:
        """Return how many items were dropped since this was asked last."""
        with self._counting:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self, timeout_s: float = 5.0) -> None:
        """Handle what waits, for `timeout_s` at most, and end the thread. Twice is no error."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        failures, is_over = FailureLog(), False
        while not is_over:
            is_over = self._ended.wait(TURN_S)
            with failures.guard(self._name):
                # As many as there are now: what comes meanwhile is for the next turn.
                self._handle([self._items.popleft() for _ in range(len(self._items))])
