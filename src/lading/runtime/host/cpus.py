"""How many CPUs this process may use: the cgroup's quota and the affinity, not the host's cores.

Reads ``/proc`` and the cgroup file systems on each call and changes nothing. Memory limits are in `memory`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def cpu_limit(proc: Path = Path("/proc/self"), *, available: int | None = None) -> int:
    """Return the CPUs that this process may use, at least 1: the minimum of affinity and all quotas above it.

    `proc` and `available` (the affinity) are passed by tests.
    """
    count = available if available is not None else _affinity()
    quotas = [quota for quota in _quotas(proc) if quota > 0]
    # 2.5 CPUs count as 2: a third thread would be throttled, and a run waits for its slowest thread.
    return max(1, min([count, *(int(quota) for quota in quotas)]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere there are no cgroups either
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(proc: Path) -> Iterator[float]:
    """Return the quota, in CPUs, of this process's group and of each group above it, for cgroup v2 and v1."""
    paths = _group_paths(proc)
    for version, root, mount in _mounts(proc):
        if version in paths:
            for folder in _ancestors(mount, root, paths[version]):
                quota = _read_v2(folder) if version == "v2" else _read_v1(folder)
                if quota is not None:
                    yield quota


def _group_paths(proc: Path) -> dict[str, str]:
    """Return the group's path in the v2 hierarchy and in the v1 hierarchy of the `cpu` controller."""
    paths = {}
    for line in _lines(proc / "cgroup"):
        # cgroups(7): ``hierarchy-ID:controller-list:cgroup-path``; v2 is always hierarchy 0.
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0":
            paths["v2"] = path
        elif "cpu" in controllers.split(","):
            paths["v1"] = path
    return paths


def _mounts(proc: Path) -> Iterator[tuple[str, str, Path]]:
    """Return version, root and mount point of each mounted cgroup hierarchy (proc(5), mountinfo)."""
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), after.split(" ", 2)
        if kind == "cgroup2":
            yield "v2", fields[3], Path(fields[4])
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield "v1", fields[3], Path(fields[4])


def _ancestors(mount: Path, root: str, path: str) -> Iterator[Path]:
    """Return the folders from the process's group up to the mount point."""
    # In a container without a cgroup namespace `path` is the host's, and only what is below the mount's root
    # is visible; the mount point itself is then the container's group.
    inside = root in ("/", path) or path.startswith(root + "/")
    below = path.removeprefix(root if root != "/" else "").strip("/") if inside else ""
    folder = mount / below if ".." not in below.split("/") else mount
    yield folder
    while folder != mount:
        folder = folder.parent
        yield folder


def _read_v2(folder: Path) -> float | None:
    for line in _lines(folder / "cpu.max"):
        quota, _, period = line.partition(" ")
        return None if quota == "max" else int(quota) / int(period or 100_000)
    return None


def _read_v1(folder: Path) -> float | None:
    quota = next(iter(_lines(folder / "cpu.cfs_quota_us")), "-1")
    period = next(iter(_lines(folder / "cpu.cfs_period_us")), "0")
    return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None


def _lines(file: Path) -> list[str]:
    # A missing file is the usual case: another cgroup version, a root group, another operating system.
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
