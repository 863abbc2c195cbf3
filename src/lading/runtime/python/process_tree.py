"""The processes that a model's process has started, and the memory that all of them take. Ends none.

A limit of one process (RLIMIT_DATA) is not one of those that it forks: each has the same limit again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

_PROC = Path("/proc")
# Anonymous memory and shared memory, each page divided by the number of processes that have it: what a fork
# shares with its parent counts once. Files are left out, whose pages the kernel takes back; proc(5).
_COUNTED = ("Pss_Anon:", "Pss_Shmem:")


def processes_below(pid: int, proc: Path = _PROC) -> list[int]:
    """Return the processes that `pid` and its descendants have started and that run, none if unknown.

    One whose parent has ended is no longer among them.
    """
    below: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop(), proc)
        below += children
        waiting += children
    return below


def memory_bytes(pids: list[int], proc: Path = _PROC) -> int:
    """Return what the processes take together; one that has ended meanwhile, or is hidden, takes nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(_COUNTED))
    return total


def _children(pid: int, proc: Path) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in (proc / str(pid) / "task").iterdir():
            # A thread may end before it is asked; its children are then those of another.
            with contextlib.suppress(OSError):
                children += map(int, (thread / "children").read_text(encoding="ascii").split())
    return children
