"""How much memory a process may take here: what the machine has, and what the cgroup allows."""

from __future__ import annotations

import os
from pathlib import Path

from lading.runtime.host.cgroups import PROC, group_folders, read_lines

# Limit and usage of a memory cgroup, by the version of cgroups.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("memory.max", "memory.current"),
}


def memory_available(proc: Path = PROC) -> int | None:
    """Return the bytes that can still be taken, or None if neither the kernel nor a cgroup says.

    The least that the machine, this process's cgroup and each cgroup above it have left.
    """
    in_groups = [_available_in_group(version, folder) for version, folder in group_folders("memory", proc)]
    known = [size for size in (_meminfo("MemAvailable:"), *in_groups) if size is not None]
    return min(known) if known else None


def memory_limit(proc: Path = PROC) -> int:
    """Return the bytes that the machine has or a cgroup allows, whichever is less; 0 if neither says."""
    limits = [_number(folder / _FILES[version][0]) for version, folder in group_folders("memory", proc)]
    known = [size for size in (_meminfo("MemTotal:"), *limits) if size is not None]
    return min(known, default=0)


def memory_needed(model_bytes: int) -> int:
    """Estimate the peak memory of loading a model: the file once as it is and once unpacked."""
    # ONNX Runtime's first session takes about 10 MB by itself (`lading verify` measures it).
    return 2 * model_bytes + 16 * 2**20


def is_memory_backed(folder: Path) -> bool:
    """Return whether the files of `folder` take memory instead of disk space, as on a tmpfs."""
    device = folder.stat().st_dev
    device_number = f"{os.major(device)}:{os.minor(device)}"
    mountinfo = Path("/proc/self/mountinfo")
    lines = mountinfo.read_text().splitlines() if mountinfo.is_file() else []
    # proc(5): the third field is the device, the first after the dash is the type of the file system.
    types = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[2] == device_number]
    return bool({"tmpfs", "ramfs"} & set(types))


def _meminfo(field: str) -> int | None:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return None


def _available_in_group(version: int, folder: Path) -> int | None:
    limit, usage = (_number(folder / file) for file in _FILES[version])
    if limit is None or usage is None:
        return None
    return max(0, limit - usage + _reclaimable(folder / "memory.stat"))


def _reclaimable(stat: Path) -> int:
    """Return the bytes of inactive page cache, which the kernel reclaims by itself."""
    # The usage of a cgroup counts them; docker and the kubelet subtract them, too. In v1, those of the groups
    # below are in the `total_` fields.
    sizes = {name: int(value) for name, _, value in (line.partition(" ") for line in read_lines(stat))}
    return sizes.get("total_inactive_file", sizes.get("inactive_file", 0))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None  # No such cgroup here, or `max`.
