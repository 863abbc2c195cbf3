"""The processes of models in Python: how many run and are busy, and why those ended that have.

Counted as they end and read some times a second: no request passes here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args
from weakref import WeakSet

from lading.runtime.python.process import EndReason
from lading.runtime.python.session import PythonRuntime
from lading.runtime.python.steps import python_of
from lading.server.inference.version import ServedVersion
from lading.server.metrics.layout import Layout
from lading.server.metrics.shared_memory import CounterStore, Name, WorkerCounters

ENDS, PROCESSES = "process_ends", "processes"
"""Kinds of counters and of gauges; their labels are model and version."""

REASONS: tuple[EndReason, ...] = get_args(EndReason)

_GAUGES = Layout(loaded=1, busy=1)
_LOADED, _BUSY = _GAUGES.start("loaded"), _GAUGES.start("busy")


@dataclass(frozen=True, slots=True)
class ModelProcesses:
    """The processes of one version over all workers; ``ends`` counts those that have ended, by reason."""

    model: str
    version: str
    loaded: int
    busy: int
    ends: Mapping[EndReason, int]


class ProcessCounts:
    """What this worker knows of the processes of its models."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        # Processes end in threads of their own, of several models at a time.
        self._lock = threading.Lock()
        self._counted: WeakSet[PythonRuntime] = WeakSet()
        self._shown: set[Name] = set()

    def publish(self, versions: Iterable[ServedVersion]) -> None:
        """Let all workers see how many processes `versions` have; count those that end from now on."""
        numbers: dict[Name, tuple[int, int]] = {}
        for served in versions:
            python = python_of(served.loaded.runtime) if served.loaded is not None else None
            if python is None:
                continue
            name: Name = (PROCESSES, served.name, str(served.version))
            numbers[name] = len(python.pids), python.busy_processes
            if python not in self._counted:
                self._counted.add(python)
                # Those that ended before are counted now.
                python.report_ends(partial(self._count, (ENDS, *name[1:])))
        for name in self._shown | numbers.keys():
            gauges = self._store.counters(name, _GAUGES.size)
            gauges[_LOADED], gauges[_BUSY] = numbers.get(name, (0, 0))
        self._shown = set(numbers)

    def _count(self, name: Name, reason: EndReason) -> None:
        with self._lock:
            self._store.counters(name, len(REASONS))[REASONS.index(reason)] += 1


def model_processes(
    workers: Iterable[WorkerCounters], sums: Mapping[Name, Sequence[float]]
) -> Iterator[ModelProcesses]:
    """Return the processes of every version that has or had some; `sums` are the counters of all workers."""
    loaded: dict[Name, list[int]] = {}
    for worker in workers:
        for name, gauges in worker.counters.items():
            if name[0] == PROCESSES:
                total = loaded.setdefault(name[1:], [0, 0])
                # Of a worker that was killed, its processes ended with it.
                if worker.pid:
                    total[0] += int(gauges[_LOADED])
                    total[1] += int(gauges[_BUSY])
    ends = {name[1:]: counts for name, counts in sums.items() if name[0] == ENDS}
    for name, (running, busy) in sorted(loaded.items()):
        counts = ends.get(name, (0,) * len(REASONS))
        by_reason = {reason: int(count) for reason, count in zip(REASONS, counts, strict=True)}
        yield ModelProcesses(name[0], name[1], running, busy, by_reason)
