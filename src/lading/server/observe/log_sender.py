"""Sends frames to the writer of the prediction log, in a thread: what does not fit is dropped and counted.

The serving threads only append to a queue. Each worker has a connection of its own, which it makes and passes
to the writer over a socket that all processes of the server inherit; a writer that was restarted finds there
the connections that were made meanwhile. Knows no record, and writes no file.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections import Counter, deque
from typing import NamedTuple, Protocol

from lading.log_frames import LABELS_VERSION, MOST_FRAME_BYTES, Receipt, decode_receipts

log = logging.getLogger("lading.server")

MOST_WAITING_BYTES = 32 * 2**20
"""What waits for a writer that is slow or restarting; further records are dropped."""

_TURN_S = 0.1
_HURRY_BYTES = 128 * 2**10
"""What waits for the next turn at most; about what a socket takes at once.

Every wake-up of the thread, and of the writer's process, costs the requests beside them more than the bytes
do.
"""
_RETRY_S = 0.1
_READ_BYTES = 1 << 16

QUEUE_FULL, TOO_LARGE, WRITER_ENDED = "queue_full", "too_large", "writer_ended"


class LogCounts(Protocol):
    """Where written and dropped records are counted."""

    def count_log_records(self, model: str, version: int, records: int) -> None:
        """Count records that are in the log."""

    def count_log_dropped(self, reason: str, records: int) -> None:
        """Count records that will never be in the log."""


class QueuedFrame(NamedTuple):
    """A frame as bytes, and what is in it."""

    model: str
    version: int
    records: int
    data: bytes


class LogSender:
    """The queue of one worker, and the thread that sends it."""

    def __init__(self, inbox: socket.socket, *, max_waiting_bytes: int = MOST_WAITING_BYTES) -> None:
        self._inbox = inbox
        self._counts: LogCounts
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[QueuedFrame] = deque()
        self._waiting_bytes = 0
        self._dropped: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._filled = threading.Event()
        self._end_at = float("inf")
        self._connection: socket.socket | None = None
        # Sent, and no receipt for it yet: lost if the writer ends.
        self._unconfirmed: Counter[tuple[str, int]] = Counter()
        self._received = b""
        self._thread = threading.Thread(target=self._run, name="prediction log", daemon=True)

    def start(self, counts: LogCounts) -> None:
        """Start the thread; `counts` is where written and dropped records are counted."""
        self._counts = counts
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread sends."""
        return self._thread.is_alive()

    def send(self, frame: QueuedFrame) -> None:
        """Queue a frame; never waits."""
        size = len(frame.data)
        with self._lock:
            if size > MOST_FRAME_BYTES:
                self._dropped[TOO_LARGE] += frame.records
            elif self._waiting_bytes + size > self._max_waiting_bytes:
                self._dropped[QUEUE_FULL] += frame.records
            else:
                self._waiting.append(frame)
                self._waiting_bytes += size
        if self._waiting_bytes >= _HURRY_BYTES:
            self._filled.set()

    def close(self, timeout_s: float) -> None:
        """Send what waits and wait for its receipts, for at most `timeout_s`."""
        self._end_at = time.monotonic() + timeout_s
        self._filled.set()
        if self._thread.ident is not None:  # The start of a server that failed did not come so far.
            self._thread.join(timeout_s + 1)

    def _run(self) -> None:
        while True:
            # Receipts come without a signal, and few records wait for the next turn.
            self._filled.wait(_TURN_S)
            self._filled.clear()
            self._count_dropped()
            while (frame := self._next()) is not None:
                if not self._send(frame):
                    break
            self._read_receipts()
            ending = self._end_at < float("inf")
            if ending and (time.monotonic() > self._end_at or not (self._waiting or self._unconfirmed)):
                break
        self._disconnect()
        # No time is left, or no writer: the last look at the metrics should show it.
        for frame in self._waiting:
            self._counts.count_log_dropped(WRITER_ENDED, frame.records)
        self._count_dropped()

    def _next(self) -> QueuedFrame | None:
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def _send(self, frame: QueuedFrame) -> bool:
        """Send the first frame of the queue and remove it; return False if that has to be tried again."""
        connection = self._connection or self._connect()
        if connection is None:
            time.sleep(_RETRY_S)
            return False
        view = memoryview(frame.data)
        while view:
            try:
                view = view[connection.send(view) :]
            except BlockingIOError:
                self._wait_for_room(connection)
                # The writer reads nothing now: its receipts still have to be read, or it might wait for us.
                self._read_receipts()
                self._count_dropped()
                if time.monotonic() > self._end_at or self._connection is None:
                    self._disconnect()
                    return False
            except OSError:
                # The writer has not read all of this frame, so it is sent again to the next one.
                self._disconnect()
                return False
        # Removed only now: until it was sent whole, the next writer gets it from the beginning.
        with self._lock:
            self._waiting.popleft()
            self._waiting_bytes -= len(frame.data)
        self._unconfirmed[frame.model, frame.version] += frame.records
        self._read_receipts()
        return True

    def _connect(self) -> socket.socket | None:
        # A pair of its own for each connection: a worker that is killed within a frame spoils no other's.
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._inbox, [b"+"], [theirs.fileno()], socket.MSG_DONTWAIT)
            except OSError:
                ours.close()
                return None
        ours.setblocking(False)
        self._connection, self._received = ours, b""
        return ours

    @staticmethod
    def _wait_for_room(connection: socket.socket) -> None:
        poll = select.poll()
        poll.register(connection, select.POLLOUT)
        poll.poll(_TURN_S * 1000)

    def _read_receipts(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            while data := connection.recv(_READ_BYTES):
                *lines, self._received = (self._received + data).split(b"\n")
                for line in lines:
                    self._take(decode_receipts(line))
            self._disconnect()
        except BlockingIOError:
            return
        except OSError:
            self._disconnect()

    def _take(self, receipts: list[Receipt]) -> None:
        for receipt in receipts:
            key = (receipt.model, receipt.version)
            self._unconfirmed[key] -= receipt.records
            if self._unconfirmed[key] <= 0:
                del self._unconfirmed[key]
            if receipt.reason:
                self._counts.count_log_dropped(receipt.reason, receipt.records)
            elif receipt.version != LABELS_VERSION:
                self._counts.count_log_records(*key, receipt.records)

    def _disconnect(self) -> None:
        """Close the connection; what it carried and nobody confirmed counts as dropped."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()
        for records in self._unconfirmed.values():
            self._counts.count_log_dropped(WRITER_ENDED, records)
        self._unconfirmed.clear()

    def _count_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
        for reason, records in dropped.items():
            self._counts.count_log_dropped(reason, records)
