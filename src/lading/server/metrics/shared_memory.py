"""Named counters: in this process, or in memory that every worker sees.

Each worker writes only its own slots of the shared memory, and each reads those of all: nothing is asked of
another process. What a worker has counted outlives it, because its successor continues in the same slots.
Knows no metric.
"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from lading.access.limits import LIMITS_BYTES

log = logging.getLogger("lading.server")

Name = tuple[str, ...]
"""What counters count: their kind, then their labels."""

Counters = Any
"""A block of floats that can be read and set by index: a list, or a view of the shared memory."""

_HEADER_SIZE = mmap.PAGESIZE
_NAMES_SIZE = 256 * 1024
_COUNTERS_SIZE = 4 * 1024 * 1024  # Pages that nothing was written to take no memory.
_SLOTS_SIZE = _HEADER_SIZE + _NAMES_SIZE + _COUNTERS_SIZE

# The numbers of the header. Connections are stored plus one, because 0 says that the worker does not accept.
_NAMES_USED, _COUNTERS_USED, _PID, _STARTS, _CONNECTIONS, _HEARTBEAT_MS, _OPENING = range(7)


class CounterStore(Protocol):
    """Where one process keeps its counters, and what it sees of those of all workers."""

    worker: int
    """The number of this worker, from 1; 0 for a process that is alone."""

    def counters(self, name: Name, size: int) -> Counters:
        """Return the counters called `name`, made of zeros when first asked for; their size never changes."""
        ...

    def workers(self) -> list[WorkerCounters]:
        """Return the workers with their counters, this one among them."""
        ...


class WorkerCounters:
    """One worker as another sees it. ``pid`` is 0 while it has no process; its counters remain."""

    def __init__(self, number: int, pid: int, starts: int, counters: Mapping[Name, Sequence[float]]) -> None:
        self.number = number
        self.pid = pid
        self.starts = starts
        self.counters = counters


class PrivateCounters:
    """The counters of a process that is alone; satisfies `CounterStore`."""

    worker = 0

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._counters: dict[Name, list[float]] = {}

    def counters(self, name: Name, size: int) -> Counters:
        """Return the counters called `name`."""
        return self._counters.setdefault(name, [0.0] * size)

    def workers(self) -> list[WorkerCounters]:
        """Return this process."""
        return [WorkerCounters(0, self._pid, 1, dict(self._counters))]


class SharedMemory:
    """Slots for `workers` workers, in memory that the supervisor makes before it forks and they inherit."""

    def __init__(self, workers: int) -> None:
        # Anonymous: no file to leave behind, and no limit of /dev/shm.
        self._memory = mmap.mmap(-1, workers * _SLOTS_SIZE)
        self.limits = mmap.mmap(-1, LIMITS_BYTES)  # Of callers, whatever worker they ask.
        self.slots = [WorkerSlots(self._memory, number) for number in range(workers)]

    def began(self, worker: int, pid: int) -> None:
        """Record that `worker` runs as the process `pid`."""
        header = self.slots[worker - 1].header
        header[_CONNECTIONS] = header[_HEARTBEAT_MS] = header[_OPENING] = 0
        header[_PID] = pid
        header[_STARTS] += 1

    def ended(self, worker: int) -> None:
        """Record that `worker` has ended: its connections are gone, its counters stay."""
        header = self.slots[worker - 1].header
        header[_PID] = header[_CONNECTIONS] = header[_HEARTBEAT_MS] = header[_OPENING] = 0

    def heartbeat_of(self, worker: int) -> float:
        """Return the last heartbeat of `worker` on the monotonic clock, or 0 if none can be expected.

        None is expected before the first, while the worker opens a model, and when it accepts no more.
        """
        header = self.slots[worker - 1].header
        return 0.0 if header[_OPENING] else float(header[_HEARTBEAT_MS]) / 1000


class WorkerSlots:
    """The part of the shared memory that one worker writes: a header, the names of counters, their numbers.

    A name is a line of JSON, ``[size, kind, label, …]``; the numbers are in the order of the names.
    """

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        start = index * _SLOTS_SIZE
        whole = memoryview(memory)[start : start + _SLOTS_SIZE]
        self.header = whole[:_HEADER_SIZE].cast("Q")
        self._names = whole[_HEADER_SIZE : _HEADER_SIZE + _NAMES_SIZE]
        self._numbers = whole[_HEADER_SIZE + _NAMES_SIZE :].cast("d")
        self._names_read = 0
        self._numbers_read = 0
        self._counters: dict[Name, Counters] = {}

    def counters(self) -> dict[Name, Counters]:
        """Return all counters by name."""
        used = self.header[_NAMES_USED]
        if used != self._names_read:
            for line in bytes(self._names[self._names_read : used]).splitlines():
                size, *name = json.loads(line)
                numbers = self._numbers[self._numbers_read : self._numbers_read + size]
                self._counters[tuple(name)] = numbers
                self._numbers_read += size
            self._names_read = used
        return self._counters

    def add(self, name: Name, size: int) -> Counters | None:
        """Make counters of zeros; return None if there is no more room."""
        line = json.dumps([size, *name]).encode() + b"\n"
        names, numbers = self.header[_NAMES_USED], self.header[_COUNTERS_USED]
        if names + len(line) > len(self._names) or numbers + size > len(self._numbers):
            return None
        # Written before the header says that it is used, so that a reader never sees half a name.
        self._names[names : names + len(line)] = line
        self.header[_COUNTERS_USED] = numbers + size
        self.header[_NAMES_USED] = names + len(line)
        return self.counters()[name]


class SharedCounters:
    """One worker's counters in the shared memory; satisfies `CounterStore` and the acceptor's `Balance`."""

    def __init__(self, memory: SharedMemory, worker: int) -> None:
        self.worker = worker
        self._slots = memory.slots
        self._own = memory.slots[worker - 1]
        self._adding = threading.Lock()
        # Two threads that read new names at the same time would read them twice, and shift all that follow.
        self._reading = threading.Lock()
        self._full = False

    def counters(self, name: Name, size: int) -> Counters:
        """Return the counters called `name`; if the memory is full, counters that only this process sees."""
        with self._adding, self._reading:
            counters = self._own.counters().get(name) or self._own.add(name, size)
        if counters is not None:
            return counters
        if not self._full:
            self._full = True
            log.warning("no more room for counts: those of new versions are missing from /metrics")
        return [0.0] * size

    def clear(self, matches: Callable[[Name], bool]) -> None:
        """Set those counters to zero that a predecessor of this worker left and whose name `matches`."""
        with self._reading:
            for name, counters in self._own.counters().items():
                if matches(name):
                    # A view takes only a view of the same format and size.
                    counters[:] = memoryview(bytes(counters.nbytes)).cast("d")

    def workers(self) -> list[WorkerCounters]:
        """Return every worker, including those that are being replaced."""
        with self._reading:
            return [
                WorkerCounters(number, slots.header[_PID], slots.header[_STARTS], dict(slots.counters()))
                for number, slots in enumerate(self._slots, 1)
            ]

    # Connections and heartbeats.

    def set_connections(self, count: int) -> None:
        """Publish how many connections this worker has; it accepts from the first call on."""
        self._own.header[_CONNECTIONS] = count + 1

    def least_connections(self) -> int:
        """Return the number of connections of the accepting worker that has the fewest; 0 if none accepts."""
        accepting = [slots.header[_CONNECTIONS] for slots in self._slots if slots.header[_CONNECTIONS]]
        return min(accepting, default=1) - 1

    def heartbeat(self) -> None:
        """Record that the event loop of this worker runs."""
        self._own.header[_HEARTBEAT_MS] = int(time.monotonic() * 1000)

    def stop_heartbeat(self) -> None:
        """Record that no more heartbeats will follow, because this worker ends."""
        self._own.header[_HEARTBEAT_MS] = 0

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Open a model within: no heartbeat is expected meanwhile, as the interpreter may be blocked."""
        header = self._own.header
        header[_OPENING] = 1
        try:
            yield
        finally:
            if header[_HEARTBEAT_MS]:
                # Before the flag: the last heartbeat may be older than the limit by now.
                self.heartbeat()
            header[_OPENING] = 0
