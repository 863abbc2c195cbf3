"""The metrics that every client library of Prometheus gives a process, summed over the workers of a server.

Read when somebody scrapes, from the ``/proc`` of each worker: nothing is counted meanwhile. Where there is no
``/proc``, only the CPU time is shown.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from lading.server.metrics import Summary

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process uses now, and since when it runs, in seconds since 1970."""

    resident_bytes: int
    virtual_bytes: int
    open_fds: int
    max_fds: int
    started_at: float


def process_families(summary: Summary) -> Iterator[Metric]:
    """Return ``process_*`` of all workers together; a supervisor, which serves nothing, is not among them."""
    cpu_s = sum(worker.cpu_s for worker in summary.workers)
    yield CounterMetricFamily("process_cpu_seconds", "CPU time of all workers.", value=cpu_s)
    used = [read_process(worker.pid) for worker in summary.workers if worker.pid]
    known = [use for use in used if use is not None]
    if not known:
        return
    for name, text, value in (
        ("resident_memory_bytes", "Resident memory.", sum(use.resident_bytes for use in known)),
        ("virtual_memory_bytes", "Virtual memory.", sum(use.virtual_bytes for use in known)),
        ("open_fds", "Open file descriptors.", sum(use.open_fds for use in known)),
        # Each worker has a limit of its own: what is left of the least matters to none of the others.
        ("max_fds", "Most file descriptors that may be open.", sum(use.max_fds for use in known)),
        ("start_time_seconds", "When the oldest worker started.", min(use.started_at for use in known)),
    ):
        yield GaugeMetricFamily(f"process_{name}", text, value=value)


def read_process(pid: int, proc: Path = _PROC) -> ProcessUse | None:
    """Return what a process uses now; None if it has ended or there is no ``/proc``."""
    folder = proc / str(pid)
    try:
        # The name of the program, in brackets, may hold blanks and brackets; proc_pid_stat(5).
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        limits = (folder / "limits").read_text().splitlines()
        return ProcessUse(
            resident_bytes=int(fields[21]) * mmap.PAGESIZE,
            virtual_bytes=int(fields[20]),
            open_fds=sum(1 for _ in (folder / "fd").iterdir()),
            max_fds=next(int(line.split()[3]) for line in limits if line.startswith("Max open files")),
            started_at=_booted_at(proc) + int(fields[19]) / os.sysconf("SC_CLK_TCK"),
        )
    except (OSError, ValueError, StopIteration):
        # A limit may be `unlimited`, and a hardened system may hide processes: then nothing is shown.
        return None


@cache
def _booted_at(proc: Path) -> float:
    lines = (proc / "stat").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("btime"))
