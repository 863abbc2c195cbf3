"""Memory cgroups: what ``/proc`` shows of them, as files, and real ones in which processes run."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lading.runtime.host.cgroups import group_folders
from support.waiting import wait_until

_LIMIT = {1: "memory.limit_in_bytes", 2: "memory.max"}
_PEAK = {1: "memory.max_usage_in_bytes", 2: "memory.peak"}
_KILLS = {1: "memory.oom_control", 2: "memory.events"}


def write_proc(folder: Path, groups: str, mounts: list[str], files: dict[str, str]) -> Path:
    """Write what ``/proc/self`` shows of cgroups, with the mounts moved below `folder`."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (folder / "cgroup").write_text(groups)
    (folder / "mountinfo").write_text("".join(line.replace("MNT", f"{folder}/sys") for line in mounts))
    return folder


@dataclass(frozen=True)
class MemoryGroup:
    """A real memory cgroup, of version 1 or 2."""

    version: int
    folder: Path

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs `arguments` in this group, from their first byte on."""
        enter = 'echo $$ > "$0" && exec "$@"'
        return ["sh", "-c", enter, str(self.folder / "cgroup.procs"), *arguments]

    @property
    def oom_kills(self) -> int:
        """How many processes the kernel has killed here because the limit was reached."""
        lines = (self.folder / _KILLS[self.version]).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    @property
    def peak_bytes(self) -> int:
        """The most that was in use at one time, page cache included; 0 if the kernel does not say."""
        file = self.folder / _PEAK[self.version]
        return int(file.read_text()) if file.exists() else 0

    @contextlib.contextmanager
    def inner(self, limit_bytes: int | None = None) -> Iterator[MemoryGroup]:
        """Make a group below this one; it is removed once its last process has ended."""
        with _group(self.version, self.folder, limit_bytes) as group:
            yield group


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Make a group that may hold `limit_bytes`; only where `why_no_groups` is empty."""
    version, parent = _parent()
    with _group(version, parent, limit_bytes) as group:
        yield group


@functools.cache
def why_no_groups() -> str:
    """Return why no memory cgroup can be made here, or nothing if one can."""
    if sys.platform != "linux":
        return "no cgroups on this system"
    try:
        with memory_group(2**30):
            return ""
    except OSError as error:
        return f"no memory cgroup can be made here: {error}"


def _parent() -> tuple[int, Path]:
    """Return the nearest group whose new groups have limits of memory."""
    for version, folder in group_folders("memory"):
        if version == 1 and (folder / _LIMIT[1]).exists():
            return version, folder
        # cgroups(7): in v2, a group with processes of its own hands no controllers down, but for the root.
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text("+memory")
            return version, folder
    raise OSError("none is mounted that can be written")


@contextlib.contextmanager
def _group(version: int, parent: Path, limit_bytes: int | None) -> Iterator[MemoryGroup]:
    folder = parent / f"lading-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    group = MemoryGroup(version, folder)
    try:
        if limit_bytes is not None:
            (folder / _LIMIT[version]).write_text(str(limit_bytes))
            swap = folder / "memory.swap.max"
            if swap.exists():  # A pod has none.
                swap.write_text("0")
        yield group
    finally:
        wait_until(lambda: not (folder / "cgroup.procs").read_text())
        # The kernel may take a moment to see the last process gone.
        wait_until(lambda: _is_removed(folder))


def _is_removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()
