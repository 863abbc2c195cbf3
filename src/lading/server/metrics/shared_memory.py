"""Numbers in blocks of cells: in this process, or in memory that every worker sees.

A worker alone writes its segment of the shared memory, and all read all of them: nothing is asked of another
process, and what a worker has counted outlives it, for its successor goes on in the same segment. Knows no
metric.
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

log = logging.getLogger("lading.server")

Name = tuple[str, ...]
"""What a block counts: its kind, then its labels."""

Block = Any
"""Floats that can be read and set by index: a list, or a view of the shared memory."""

_NAMES_SIZE = 256 * 1024
_CELLS_SIZE = 4 * 1024 * 1024  # Pages that nothing was written to take no memory.
_SEGMENT_SIZE = mmap.PAGESIZE + _NAMES_SIZE + _CELLS_SIZE
_NAMES_USED, _CELLS_USED, _PID, _STARTS, _CONNECTIONS, _BEAT, _OPENING = range(7)


class Cells(Protocol):
    """Where one process keeps its numbers, and what it can see of all workers'."""

    worker: int
    """The number of this worker, from 1; 0 for a process that is alone."""

    def block(self, name: Name, size: int) -> Block:
        """Return the block called `name`, made of zeros when first asked for; its size never changes."""
        ...

    def everyone(self) -> list[Worker]:
        """Return the workers and their blocks, this one among them."""
        ...


class Worker:
    """One worker as another sees it. ``pid`` is 0 while there is none; its counts are there all the same."""

    def __init__(self, number: int, pid: int, starts: int, blocks: Mapping[Name, Sequence[float]]) -> None:
        self.number = number
        self.pid = pid
        self.starts = starts
        self.blocks = blocks


class PrivateCells:
    """The numbers of a process that is alone; satisfies `Cells`."""

    worker = 0

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._blocks: dict[Name, list[float]] = {}

    def block(self, name: Name, size: int) -> Block:
        """Return the block called `name`."""
        return self._blocks.setdefault(name, [0.0] * size)

    def everyone(self) -> list[Worker]:
        """Return this process."""
        return [Worker(0, self._pid, 1, dict(self._blocks))]


class SharedMemory:
    """Memory for `workers` segments, made by the supervisor before it forks; the workers inherit it."""

    def __init__(self, workers: int) -> None:
        # Anonymous: no file to leave behind, and none of /dev/shm's limit.
        self._memory = mmap.mmap(-1, workers * _SEGMENT_SIZE)
        self.segments = [Segment(self._memory, number) for number in range(workers)]

    def began(self, worker: int, pid: int) -> None:
        """Note that `worker` runs as the process `pid`."""
        header = self.segments[worker - 1].header
        header[_CONNECTIONS] = header[_BEAT] = header[_OPENING] = 0
        header[_PID] = pid
        header[_STARTS] += 1

    def ended(self, worker: int) -> None:
        """Note that `worker` is gone: what it had in hand is no more, what it counted stays."""
        header = self.segments[worker - 1].header
        header[_PID] = header[_CONNECTIONS] = header[_BEAT] = header[_OPENING] = 0

    def heartbeat_of(self, worker: int) -> float:
        """Return when `worker` last gave a sign of life, on the monotonic clock; 0 where none can be expected.

        That is before the first, while it opens a model, and when it accepts no more.
        """
        header = self.segments[worker - 1].header
        return 0.0 if header[_OPENING] else float(header[_BEAT]) / 1000


class Segment:
    """The part of the shared memory that one worker writes: a header, the names of blocks, their cells.

    A name is a line of JSON, ``[size, kind, label, …]``; blocks lie in the order of their names. What is
    new is written before the header says that it is used, so that a reader never sees half of it.
    """

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        start = index * _SEGMENT_SIZE
        whole = memoryview(memory)[start : start + _SEGMENT_SIZE]
        self.header = whole[: mmap.PAGESIZE].cast("Q")
        self._names = whole[mmap.PAGESIZE : mmap.PAGESIZE + _NAMES_SIZE]
        self._cells = whole[mmap.PAGESIZE + _NAMES_SIZE :].cast("d")
        self._read = 0
        self._cells_read = 0
        self._blocks: dict[Name, Block] = {}

    def blocks(self) -> dict[Name, Block]:
        """Return every block by name."""
        used = self.header[_NAMES_USED]
        if used != self._read:
            for line in bytes(self._names[self._read : used]).splitlines():
                size, *name = json.loads(line)
                self._blocks[tuple(name)] = self._cells[self._cells_read : self._cells_read + size]
                self._cells_read += size
            self._read = used
        return self._blocks

    def add(self, name: Name, size: int) -> Block | None:
        """Make a block of zeros; None where there is no more room."""
        line = json.dumps([size, *name]).encode() + b"\n"
        names, cells = self.header[_NAMES_USED], self.header[_CELLS_USED]
        if names + len(line) > len(self._names) or cells + size > len(self._cells):
            return None
        self._names[names : names + len(line)] = line
        self.header[_CELLS_USED] = cells + size
        self.header[_NAMES_USED] = names + len(line)
        return self.blocks()[name]


class SharedCells:
    """One worker's numbers in the shared memory; satisfies `Cells`."""

    def __init__(self, memory: SharedMemory, worker: int) -> None:
        self.worker = worker
        self._segments = memory.segments
        self._own = memory.segments[worker - 1]
        self._adding = threading.Lock()
        self._reading = threading.Lock()
        self._full = False

    def block(self, name: Name, size: int) -> Block:
        """Return the block called `name`; one of this process alone where the memory is full."""
        with self._adding, self._reading:
            found = self._own.blocks().get(name) or self._own.add(name, size)
        if found is not None:
            return found
        if not self._full:
            self._full = True
            log.warning("no more room for counts: those of new versions are missing from /metrics")
        return [0.0] * size

    def clear(self, wanted: Callable[[Name], bool]) -> None:
        """Set blocks to zero that a predecessor of this worker left: its gauges."""
        with self._reading:
            for name, block in self._own.blocks().items():
                if wanted(name):
                    block[:] = memoryview(bytes(block.nbytes)).cast("d")

    def set_connections(self, count: int) -> None:
        """Let the others know how many connections this worker has, from when it accepts any."""
        self._own.header[_CONNECTIONS] = count + 1

    def heartbeat(self) -> None:
        """Let the supervisor know that the event loop of this worker goes on."""
        self._own.header[_BEAT] = int(time.monotonic() * 1000)

    def stop_heartbeat(self) -> None:
        """Return no more signs of life, because this worker ends."""
        self._own.header[_BEAT] = 0

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Open a model within: the interpreter may stand still for as long as that takes."""
        header = self._own.header
        header[_OPENING] = 1
        try:
            yield
        finally:
            if header[_BEAT]:
                self.heartbeat()
            header[_OPENING] = 0

    def least_connections(self) -> int:
        """Return the connections of whichever worker that accepts has the fewest; 0 where none accepts."""
        accepting = [one.header[_CONNECTIONS] for one in self._segments if one.header[_CONNECTIONS]]
        return min(accepting, default=1) - 1

    def everyone(self) -> list[Worker]:
        """Return every worker, those that are being replaced too."""
        with self._reading:
            return [
                Worker(number, one.header[_PID], one.header[_STARTS], dict(one.blocks()))
                for number, one in enumerate(self._segments, 1)
            ]
