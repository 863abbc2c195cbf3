"""How much memory a process may take here: what the machine has, and what the cgroup allows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def memory_available(groups: Sequence[tuple[str, str]] = _GROUPS) -> int | None:
    """Return the bytes that can still be taken, None where neither the kernel nor a cgroup tells."""
    found = [_of_group(*paths) for paths in groups]
    known = [one for one in (_machine("MemAvailable:"), *found) if one is not None]
    return min(known) if known else None


def memory_limit(groups: Sequence[tuple[str, str]] = _GROUPS) -> int:
    """Return the bytes that the machine has or a cgroup allows, whichever is less; 0 where neither tells."""
    limits = [_number(limit) for limit, _ in groups]
    known = [one for one in (_machine("MemTotal:"), *limits) if one is not None]
    return min(known, default=0)


def memory_needed(model_bytes: int) -> int:
    """Estimate what loading a model takes at its peak: the file once as it is and once unpacked.

    ONNX Runtime's first session takes about 10 MB by itself (`lading verify` measures it).
    """
    return 2 * model_bytes + 16 * 2**20


def lies_in_memory(folder: Path) -> bool:
    """Return whether the files of `folder` take memory instead of a disk, as on a tmpfs."""
    device = folder.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    mounts = Path("/proc/self/mountinfo")
    lines = mounts.read_text().splitlines() if mounts.is_file() else []
    kinds = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[2] == name]
    return bool({"tmpfs", "ramfs"} & set(kinds))


def _machine(what: str) -> int | None:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    return None


def _of_group(limit: str, usage: str) -> int | None:
    most, used = _number(limit), _number(usage)
    if most is None or used is None:
        return None
    return max(0, most - used + _reclaimable(Path(usage).with_name("memory.stat")))


def _reclaimable(stat: Path) -> int:
    """Return the bytes of files read or written a while ago, which the kernel takes back by itself.

    The `usage` of a cgroup counts them; neither docker nor the kubelet does.
    """
    lines = stat.read_text().splitlines() if stat.is_file() else []
    found = {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}
    return found.get("total_inactive_file", found.get("inactive_file", 0))


def _number(file: str) -> int | None:
    try:
        return int(Path(file).read_text())
    except (OSError, ValueError):
        return None  # No such cgroup here, or `max`.
