"""How much memory a process may still take here: what the machine has, and what the cgroup allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def memory_available(groups: Sequence[tuple[str, str]] = _GROUPS) -> int | None:
    """Give the bytes that can still be taken, None where neither the kernel nor a cgroup tells."""
    found = [_of_group(*paths) for paths in groups]
    known = [one for one in (_of_machine(), *found) if one is not None]
    return min(known) if known else None


def memory_needed(model_bytes: int) -> int:
    """Estimate what loading a model takes at its peak: the file once as it is and once unpacked.

    ONNX Runtime's first session takes about 10 MB by itself (`lading verify` measures it).
    """
    return 2 * model_bytes + 16 * 2**20


def _of_machine() -> int | None:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    for line in path.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_group(limit: str, usage: str) -> int | None:
    try:
        most, used = Path(limit).read_text().strip(), int(Path(usage).read_text())
    except (OSError, ValueError):
        return None  # No such cgroup here.
    return None if most == "max" else max(0, int(most) - used)
