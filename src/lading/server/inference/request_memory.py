"""The memory that requests in flight take together: bodies, their arrays, answers. Allocates none.

What is counted lives as long as the reservation that counts it: what holds the bytes holds that, too, so that
no way on which a request ends is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from lading.errors import RequestTooLarge, ServerBusy
from lading.signature import Array

COUNTED_BYTES = 10_000
"""Smaller bodies, and answers of fewer bytes, are not counted: there are at most as many as may wait."""

_STRING_BYTES = 60
"""What a string takes besides its characters, with its place in an array."""
_COUNTED_AT_ONCE = 2**20


class RequestMemory:
    """What requests may take of this process and of the one that reads bodies; 0 is no limit.

    Bodies, as they arrive, may take a third of it. Reading, running and answering them takes of the rest, so
    that what has arrived can always go on.
    """

    def __init__(self, most_bytes: int = 0) -> None:
        self._most_received = most_bytes // 3
        self.most_bytes = most_bytes - self._most_received
        """What one request may take besides its body."""
        self._received = self._used = 0
        # A reservation may be collected, and gives its bytes back, while this thread holds the lock.
        self._lock = threading.RLock()

    @property
    def used_bytes(self) -> int:
        """What is counted now."""
        return self._received + self._used

    def reserve(self, size_bytes: int) -> Reservation:
        """Reserve memory; raises `ServerBusy`, and `RequestTooLarge` if it could never be had."""
        reservation = Reservation(self)
        reservation.grow(size_bytes)
        return reservation

    def count(self, size_bytes: int) -> Reservation:
        """Count memory that is taken already, whether there is room or not."""
        reservation = Reservation(self)
        reservation.resize(size_bytes)
        return reservation

    def has_room(self, size_bytes: int) -> bool:
        """Return whether so much could be reserved now."""
        return not self.most_bytes or self._used + size_bytes <= self.most_bytes

    def change(self, received: int, used: int, *, limited: bool = True) -> None:
        """Count so many bytes more, of bodies that arrive and else; raises if there is no room for them."""
        with self._lock:
            if limited and self.most_bytes:
                if self._received + received > self._most_received:
                    raise _refusal(received, self._received, self._most_received)
                if self._used + used > self.most_bytes:
                    raise _refusal(used, self._used, self.most_bytes)
            self._received += received
            self._used += used


class Reservation:
    """Bytes that are counted until nothing refers to this any more."""

    __slots__ = ("_memory", "_received", "_used")

    def __init__(self, memory: RequestMemory) -> None:
        self._memory = memory
        self._received = self._used = 0

    def __del__(self) -> None:
        self._memory.change(-self._received, -self._used, limited=False)

    def receive(self, size_bytes: int) -> None:
        """Reserve memory for more of a body that arrives; raises `ServerBusy`, `RequestTooLarge`."""
        self._memory.change(size_bytes, 0)
        self._received += size_bytes

    def grow(self, size_bytes: int) -> None:
        """Reserve more of the rest; raises `ServerBusy`, `RequestTooLarge`."""
        self._memory.change(0, size_bytes)
        self._used += size_bytes

    def resize(self, size_bytes: int) -> None:
        """Count what is taken already: more or less than before."""
        self._memory.change(0, size_bytes - self._used, limited=False)
        self._used = size_bytes


def _refusal(size_bytes: int, used_bytes: int, most_bytes: int) -> ServerBusy | RequestTooLarge:
    needed = f"{size_bytes / 1e6:,.1f} MB"
    if size_bytes > most_bytes:
        return RequestTooLarge(
            "memory for this request",
            expected=f"at most {most_bytes / 1e6:,.1f} MB",
            found=f"{needed} needed",
            hint="send fewer rows at a time, or raise `request_memory_mb`",
        )
    return ServerBusy(
        "memory for requests in flight",
        expected=f"{needed} free for this one",
        found=f"{max(0, most_bytes - used_bytes) / 1e6:,.1f} MB",
        hint="retry after the time in `retry-after`, or raise `request_memory_mb`",
    )


def array_bytes(arrays: Mapping[str, Array]) -> int:
    """Return what arrays take, strings included."""
    return sum(_array_bytes(array) for array in arrays.values())


def _array_bytes(array: Array) -> int:
    if array.dtype.kind != "O":
        return int(array.nbytes)
    return int(_STRING_BYTES * array.size + sum(map(len, array.reshape(-1).tolist())))


def json_bytes(body: bytes) -> int:
    """Estimate what reading JSON takes, from its commas, brackets and quotes: each is an object in Python."""
    commas, lists, objects, quotes = _counts(body, b',[{"')
    values = commas + lists + objects
    return 2 * len(body) + 40 * values + 64 * lists + 160 * objects + _STRING_BYTES * (quotes // 2)


def csv_bytes(body: bytes, *, has_texts: bool) -> int:
    """Estimate what reading CSV takes, from its commas and lines; texts stay objects, numbers do not."""
    cells = sum(_counts(body, b",\n")) + 1
    return 2 * len(body) + (_STRING_BYTES + 16 if has_texts else 16) * cells


def _counts(body: bytes, characters: bytes) -> list[int]:
    """Count each of `characters`, in pieces between which other threads have their turn."""
    # `bytes.count` keeps the interpreter to itself until it is done: 14 ms for 30 MB of brackets.
    counts = np.zeros(len(characters), np.int64)
    whole = np.frombuffer(body, np.uint8)
    for start in range(0, len(whole), _COUNTED_AT_ONCE):
        piece = whole[start : start + _COUNTED_AT_ONCE]
        counts += [np.count_nonzero(piece == character) for character in characters]
    return [int(count) for count in counts]
