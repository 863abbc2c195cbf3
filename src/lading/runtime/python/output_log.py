"""What a model's code prints, as lines of the log: never so many that they fill it.

The pipe is read as fast as it is written to, whatever is logged: code that prints must not wait. Interprets
nothing that it reads.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable

from lading.logs import fields

log = logging.getLogger("lading.model")

_READ_BYTES = 1 << 16
_LONGEST_LINE = 2_000
_REPORT_S = 5.0


class LineLimit:
    """How many lines may still be logged: `burst` at once, and `per_s` a second on average."""

    def __init__(
        self, burst: int = 200, per_s: float = 20.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._left, self._at = float(burst), clock()
        self._lock = threading.Lock()

    def take(self, lines: int) -> int:
        """Return how many of `lines` may be logged now; they count as logged."""
        with self._lock:
            now = self._clock()
            self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
            self._at = now
            taken = min(lines, int(self._left))
            self._left -= taken
            return taken


class OutputLog:
    """Logs what comes through the pipe `descriptor` under a model's name, in a thread of its own.

    Once constructed, it closes the descriptor in the end: when the pipe is closed, or when `end` is called,
    because processes that the model has left behind may keep the pipe open.
    """

    def __init__(self, name: str, descriptor: int, limit: LineLimit) -> None:
        self._name = name
        self._descriptor = descriptor
        self._limit = limit
        self._begun = b""  # a line whose end has not come yet
        self._dropped = 0
        os.set_blocking(descriptor, False)
        self._ended = False
        self._ending = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name=f"output of {name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            os.close(self._ending)
            raise

    def end(self) -> None:
        """Log what is in the pipe, and no more. Twice is no error."""
        if not self._ended:
            self._ended = True
            os.eventfd_write(self._ending, 1)
            self._thread.join()
            os.close(self._ending)

    def _work(self) -> None:
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        poller.register(self._ending, select.POLLIN)
        try:
            while True:
                events = poller.poll(_REPORT_S * 1000 if self._dropped else None)
                ending = any(descriptor == self._ending for descriptor, _ in events)
                if not self._read() or ending:
                    break
                self._report()
        finally:
            if self._begun:
                self._log([self._begun])
            self._report(last=True)
            os.close(self._descriptor)

    def _read(self) -> bool:
        """Log what is in the pipe; return whether it is still open."""
        for _ in range(64):
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._add(data)
        return True

    def _add(self, data: bytes) -> None:
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            # No more of an endless line is kept than is logged of it.
            self._begun = (self._begun + data)[: _LONGEST_LINE + 1]
            return
        whole, self._begun = self._begun + whole, rest[: _LONGEST_LINE + 1]
        count = whole.count(b"\n") + 1
        taken = self._limit.take(count)
        self._dropped += count - taken
        if taken:
            self._log(whole.split(b"\n", taken)[:taken])

    def _log(self, lines: list[bytes]) -> None:
        for line in lines:
            text = line[:_LONGEST_LINE].decode("utf-8", "backslashreplace").rstrip()
            if text:
                cut = "…" if len(line) > _LONGEST_LINE else ""
                log.info("%s: %s%s", self._name, printable(text), cut, extra=fields(model=self._name))

    def _report(self, *, last: bool = False) -> None:
        if self._dropped and (last or self._limit.take(1)):
            log.warning("%s: %d more lines of its output are left out", self._name, self._dropped)
            self._dropped = 0


def printable(text: str) -> str:
    """Return `text` with what is not printable escaped: it may hold sequences for a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in text)
