"""Which versions a process runs at this moment, in the memory of its counters, which outlives the process.

The supervisor reads it when a worker has crashed: one of the versions that ran has done it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lading.server.inference.version import CANDIDATE_MARK, RUNS_MARK, RunMarks
from lading.server.metrics.shared_memory import CounterStore, WorkerSlots

RUNNING = "running"
"""The kind of these counters; their labels are model, version and digest."""
_SIZE = 2


@dataclass(frozen=True, slots=True)
class Suspect:
    """A version that ran when its process crashed, and whether it was the candidate of a release then."""

    name: str
    version: int
    digest: str
    is_candidate: bool = False


def run_marks(store: CounterStore, name: str, version: int, digest: str) -> RunMarks:
    """Return the marks of a version."""
    return store.counters((RUNNING, name, str(version), digest), _SIZE)


def suspects(slots: WorkerSlots) -> list[Suspect]:
    """Return the versions that the process of `slots` runs, or ran when it ended."""
    return [
        Suspect(name[1], int(name[2]), name[3], bool(marks[CANDIDATE_MARK]))
        for name, marks in slots.counters().items()
        if name[0] == RUNNING and marks[RUNS_MARK] > 0
    ]
