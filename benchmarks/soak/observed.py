"""What a soak observed: the good client's records, the server's memory and descriptors, summaries."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from good_client import GRPC_HEALTH, HEALTH, REASONS
from plan import Slot, slot_at

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_EVERY_S = 1.0
_WINDOW_S = 2.0


@dataclass(frozen=True)
class Sample:
    """The server's processes at one moment, all together."""

    at_s: float
    resident_mb: float
    descriptors: int
    pids: frozenset[int]


class Sampler:
    """Looks at a server's processes once a second."""

    def __init__(self, pid: int, start_s: float) -> None:
        self.samples: list[Sample] = []
        self._pid, self._start_s = pid, start_s

    def run(self, ended: threading.Event) -> None:
        """Take samples until `ended`."""
        while not ended.wait(_SAMPLE_EVERY_S):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        resident = descriptors = 0
        pids = _family(self._pid)
        for pid in pids:
            with contextlib.suppress(OSError):  # It has ended meanwhile.
                fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
                resident += int(fields[1]) * _PAGE_BYTES
                descriptors += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - cheaper
        return Sample(time.monotonic() - self._start_s, resident / 1e6, descriptors, frozenset(pids))


def _family(pid: int) -> list[int]:
    """Return a process and all that it started."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                pids += map(int, task.read_text(encoding="ascii").split())
    return pids


def read_records(path: Path, dtype: Any) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Read what the good client wrote: its records and the names of its ways."""
    with np.load(path) as saved:
        return saved["records"].astype(dtype), [str(name) for name in saved["ways"]]


@dataclass(frozen=True)
class Latency:
    """What one group of requests saw."""

    requests: int
    lost: int
    p50_ms: float
    p99_ms: float
    most_ms: float


@dataclass
class Soak:
    """Everything that one run observed."""

    slots: Sequence[Slot]
    records: np.ndarray[Any, Any]
    ways: Sequence[str]
    samples: Sequence[Sample]
    got: Mapping[str, Mapping[str, int]]
    flags: str
    exit_code: int = 0

    @cached_property
    def slot_names(self) -> np.ndarray[Any, Any]:
        """Return the name of each record's slot, empty for one that belongs to none."""
        slots = (slot_at(self.slots, float(due_s)) for due_s in self.records["due_s"])
        return np.array([slot.name if slot is not None else "" for slot in slots])

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self.slots[-1].end_s

    @property
    def kinds(self) -> list[str]:
        """Names of the hostile slots, in their order."""
        return list(dict.fromkeys(slot.name for slot in self.slots if slot.kinds))

    def is_way(self, name: str) -> np.ndarray[Any, Any]:
        """Return which records asked in this way; a way may have several turns."""
        return np.isin(self.records["way"], [at for at, way in enumerate(self.ways) if way == name])

    @cached_property
    def is_request(self) -> np.ndarray[Any, Any]:
        """Which records are predictions."""
        return ~(self.is_way(HEALTH) | self.is_way(GRPC_HEALTH))

    def is_in(self, *names: str) -> np.ndarray[Any, Any]:
        """Return which records were due in slots of these names."""
        return np.isin(self.slot_names, names)

    def latency(self, which: np.ndarray[Any, Any]) -> Latency:
        """Summarise some records; what was lost counts with the time until that was known."""
        some = self.records[which]
        if not len(some):
            return Latency(0, 0, 0.0, 0.0, 0.0)
        ms = some["took_s"] * 1e3
        p50, p99 = np.percentile(ms, (50, 99))
        return Latency(len(some), int((some["lost"] > 0).sum()), float(p50), float(p99), float(ms.max()))

    def losses(self) -> list[str]:
        """Say what was lost: way, reason, slot, and how often."""
        lost = self.records["lost"] > 0
        rows = zip(self.records["way"][lost], self.records["lost"][lost], self.slot_names[lost], strict=True)
        named = [f"{self.ways[way]}: {REASONS[why]}, {slot or 'settling'}" for way, why, slot in rows]
        return [f"{named.count(name)} × {name}" for name in dict.fromkeys(named)]

    def worst_window(self) -> tuple[float, float, str]:
        """Return when the slowest 2 s began, their p99 in ms, and what was active."""
        due_s, worst = self.records["due_s"], (0.0, 0.0, "calm")
        for at_s in np.arange(0, self.seconds, _WINDOW_S):
            inside = self.is_request & (due_s >= at_s) & (due_s < at_s + _WINDOW_S)
            if inside.any() and (p99 := self.latency(inside).p99_ms) > worst[1]:
                names = [name for name in dict.fromkeys(self.slot_names[inside].tolist()) if name]
                worst = (float(at_s), p99, ", ".join(names) or "settling")
        return worst

    def third(self, number: int) -> list[Sample]:
        """Return the samples of a third of the run, 0 to 2, without the calm at its beginning."""
        first_s = self.slots[0].end_s
        length_s = (self.seconds - first_s) / 3
        begin_s = first_s + number * length_s
        return [sample for sample in self.samples if begin_s <= sample.at_s < begin_s + length_s]

    def ended_processes(self) -> int:
        """Return how many of the server's processes ended while it ran."""
        ever = frozenset().union(*(sample.pids for sample in self.samples))
        return len(ever - self.samples[-1].pids)
