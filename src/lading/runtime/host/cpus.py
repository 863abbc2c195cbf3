"""How many CPUs this process may use: the cgroup's quota and the affinity, not the host's cores.

Reads ``/proc`` and the cgroup file systems on each call and changes nothing. Memory limits are in `memory`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lading.runtime.host.cgroups import PROC, group_folders, read_lines


def cpu_limit(proc: Path = PROC, *, available: int | None = None) -> int:
    """Return the CPUs that this process may use, at least 1: the minimum of affinity and all quotas above it.

    `proc` and `available` (the affinity) are passed by tests.
    """
    count = available if available is not None else _affinity()
    quotas = [quota for quota in _quotas(proc) if quota > 0]
    # 2.5 CPUs count as 2: a third thread would be throttled, and a run waits for its slowest thread.
    return max(1, min([count, *(int(quota) for quota in quotas)]))


def cpu_features(proc: Path = PROC.parent) -> str:
    """Return what the first CPU can do, by which kernels are chosen; empty where the system does not say."""
    # The first lines suffice: the file has some 50 for each CPU.
    with contextlib.suppress(OSError), (proc / "cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, features = line.partition(":")
            if name.strip() in ("flags", "Features"):  # x86, Arm
                return features.strip()
    return ""


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere there are no cgroups either
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(proc: Path) -> Iterator[float]:
    """Return the quota, in CPUs, of this process's group and of each group above it."""
    for version, folder in group_folders("cpu", proc):
        quota = _read_v2(folder) if version == 2 else _read_v1(folder)
        if quota is not None:
            yield quota


def _read_v2(folder: Path) -> float | None:
    for line in read_lines(folder / "cpu.max"):
        quota, _, period = line.partition(" ")
        return None if quota == "max" else int(quota) / int(period or 100_000)
    return None


def _read_v1(folder: Path) -> float | None:
    quota = next(iter(read_lines(folder / "cpu.cfs_quota_us")), "-1")
    period = next(iter(read_lines(folder / "cpu.cfs_period_us")), "0")
    return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
