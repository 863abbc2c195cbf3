"""What the server counts, and how the counts of all workers become one. The page is `page`'s.

Counts lie in `cells`: a worker adds to its own, and whichever worker is asked sums everyone's.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics.counts import BATCH_BOUNDS, REQUESTS_SIZE, RUNS_SIZE, Requests, Runs, Stats
from lading.server.metrics.shared_memory import Block, Cells, Name, PrivateCells, Worker

__all__ = ["Key", "Metrics", "Requests", "Runs", "Stats", "Summary", "VersionNow", "WorkerNow", "is_gauge"]

Key = tuple[str, str, str]
"""Model, version, protocol; model and version are empty for a request that found none."""

_REQUESTS, _RUNS, _VERSION, _PROCESS, _CPU = "requests", "runs", "version", "process", "cpu"
_STATE, _IN_HAND, _QUEUED, _LAST = range(4)
_RESIDENT, _CONNECTIONS = range(2)
_STATM = Path("/proc/self/statm")


def is_gauge(name: Name) -> bool:
    """Return whether a block says how things are now; the others count, and outlive their worker."""
    return name[0] in (_VERSION, _PROCESS)


@dataclass(slots=True)
class VersionNow:
    """One version, over all workers: how many have it in which state, and what is in hand.

    ``last_request_at`` is in seconds since the epoch, to about a second; 0 for never.
    """

    model: str
    version: str
    digest: str
    states: dict[State, int]
    in_flight: int = 0
    queued: int = 0
    last_request_at: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerNow:
    """One worker. ``cpu_s`` includes those that were there before it under its number."""

    number: int
    pid: int
    starts: int
    cpu_s: float
    resident_bytes: int
    connections: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that is counted, over all workers."""

    requests: dict[Key, Requests]
    runs: dict[tuple[str, str], Runs]
    versions: list[VersionNow]
    workers: list[WorkerNow]

    def runs_of(self) -> dict[tuple[str, str], tuple[float, int, list[int]]]:
        """Return seconds, rows, and runs by rows of each version, through the queue or not."""
        found = {key: (runs.run_s, runs.rows, runs.by_rows) for key, runs in self.runs.items()}
        nothing = (0.0, 0, [0] * (len(BATCH_BOUNDS) + 1))
        for (model, version, _), counts in self.requests.items():
            at_once = counts.runs_by_rows
            if any(at_once):
                run_s, rows, queued = found.get((model, version), nothing)
                by_rows = [a + b for a, b in zip(at_once, queued, strict=True)]
                found[model, version] = (run_s + counts.run_s, rows + counts.rows_at_once, by_rows)
        return found


class Metrics:
    """The counts of this process, and the sum over all workers'.

    Call `publish` some times a second: what the other workers see of this one's present is as old as that.
    """

    def __init__(self, plane: DataPlane, cells: Cells | None = None) -> None:
        self._plane = plane
        self._cells: Cells = cells or PrivateCells(os.getpid())
        self._stats: dict[Key, Stats] = {}
        self._known: dict[tuple[ServedVersion, str], Stats] = {}
        self._runs: dict[tuple[str, str], Runs] = {}
        self._shown: dict[Name, Block] = {}
        self._answered: dict[Name, int] = {}
        self._cpu = self._cells.block((_CPU,), 1)
        self._cpu_before_s = self._cpu[0]
        plane.on_run = self._ran

    @property
    def worker(self) -> int:
        """The number of this worker; 0 where it is alone."""
        return self._cells.worker

    @property
    def is_first(self) -> bool:
        """Whether no worker with a lower number runs."""
        return all(one.number >= self.worker for one in self._cells.everyone() if one.pid)

    def stats(self, model: str, version: int, protocol: str) -> Stats:
        """Return the counts of one model version over one protocol in this process."""
        key = (model, str(version) if model else "", protocol)
        found = self._stats.get(key)
        if found is None:
            found = self._stats[key] = Stats(self._cells.block((_REQUESTS, *key), REQUESTS_SIZE))
        return found

    def of(self, served: ServedVersion, protocol: str) -> Stats:
        """Return the counts of a version; quicker than `stats`, for every request asks."""
        found = self._known.get((served, protocol))
        if found is None:
            found = self._known[served, protocol] = self.stats(served.name, served.version, protocol)
        return found

    def publish(self, connections: int | None = None) -> None:
        """Let all workers see the present of this one: its versions, memory, CPU and connections."""
        self._publish_versions()
        process = self._cells.block((_PROCESS,), 2)
        process[_RESIDENT] = _resident_bytes()
        if connections is not None:
            process[_CONNECTIONS] = connections
        self._cpu[0] = self._cpu_before_s + time.process_time()

    def summary(self) -> Summary:
        """Sum the counts of all workers, those of workers that are gone included."""
        everyone = self._cells.everyone()
        counted = _sums(everyone)
        return Summary(
            requests={_key(name): Requests(cells) for name, cells in counted.items() if name[0] == _REQUESTS},
            runs={(name[1], name[2]): Runs(cells) for name, cells in counted.items() if name[0] == _RUNS},
            versions=list(_versions(everyone)),
            workers=[_worker(one) for one in everyone],
        )

    def _publish_versions(self) -> None:
        present: dict[Name, ServedVersion] = {}
        for versions in self._plane.models.values():
            for served in versions:
                present[_VERSION, served.name, str(served.version), served.digest] = served
        for name in self._shown.keys() - present.keys():
            self._shown.pop(name)[_STATE] = 0.0
            self._answered.pop(name, None)
        rows = self._rows_by_version()
        for name, served in present.items():
            if name not in self._shown:
                self._shown[name] = self._cells.block(name, 4)
            self._show(name, served, rows.get(name[1:3], 0))
        if self._known:  # What is unloaded must not be kept in memory by its counts.
            held = set(present.values())
            for known in [one for one in list(self._known) if one[0] not in held]:
                self._known.pop(known, None)

    def _rows_by_version(self) -> dict[Name, int]:
        # In one pass: looking through all counts for each version stops a server of 1,000 models for seconds.
        rows: dict[Name, int] = {}
        for known, stats in list(self._stats.items()):
            rows[known[:2]] = rows.get(known[:2], 0) + stats.rows
        return rows

    def _show(self, name: Name, served: ServedVersion, answered: int) -> None:
        block = self._shown[name]
        block[_STATE] = served.state + 1.0
        block[_IN_HAND] = served.in_flight
        block[_QUEUED] = self._plane.depth(served)
        if answered != self._answered.get(name, 0):
            self._answered[name] = answered
            block[_LAST] = time.time()

    def _ran(self, served: ServedVersion, rows: int, took_s: float) -> None:
        key = (served.name, str(served.version))
        found = self._runs.get(key)
        if found is None:
            found = self._runs[key] = Runs(self._cells.block((_RUNS, *key), RUNS_SIZE))
        found.ran(rows, took_s)


def _sums(everyone: Iterable[Worker]) -> dict[Name, list[float]]:
    sums: dict[Name, list[float]] = {}
    for worker in everyone:
        for name, cells in worker.blocks.items():
            if is_gauge(name):
                continue
            so_far = sums.get(name)
            sums[name] = (
                list(cells) if so_far is None else [a + b for a, b in zip(so_far, cells, strict=True)]
            )
    return sums


def _versions(everyone: Iterable[Worker]) -> Iterator[VersionNow]:
    found: dict[Name, VersionNow] = {}
    for worker in everyone:
        for name, cells in worker.blocks.items():
            if name[0] != _VERSION:
                continue
            now = found.setdefault(name, VersionNow(name[1], name[2], name[3], {}))
            now.last_request_at = max(now.last_request_at, cells[_LAST])
            if worker.pid and cells[_STATE]:
                state = State(int(cells[_STATE]) - 1)
                now.states[state] = now.states.get(state, 0) + 1
                now.in_flight += int(cells[_IN_HAND])
                now.queued += int(cells[_QUEUED])
    return (one for one in found.values() if one.states)


def _worker(one: Worker) -> WorkerNow:
    process = one.blocks.get((_PROCESS,), (0.0, 0.0)) if one.pid else (0.0, 0.0)
    cpu: Sequence[float] = one.blocks.get((_CPU,), (0.0,))
    resident, connections = int(process[_RESIDENT]), int(process[_CONNECTIONS])
    return WorkerNow(one.number, one.pid, one.starts, cpu[0], resident, connections)


def _key(name: Name) -> Key:
    return name[1], name[2], name[3]


def _resident_bytes() -> int:
    """Read the resident size; 0, which is not shown, where there is no /proc."""
    try:
        return int(_STATM.read_bytes().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
