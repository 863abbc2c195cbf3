"""The cgroups that limit this process: its own and each above it, for cgroup v2 and v1.

Reads ``/proc`` and file names only; what a limit means is in `cpus` and `memory`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self")


def group_folders(controller: str, proc: Path = PROC) -> Iterator[tuple[int, Path]]:
    """Return version (1 or 2) and folder of this process's group and of each group above it.

    `controller` is ``cpu`` or ``memory``; `proc` is passed by tests. A folder need not have the files of the
    controller: v2 groups have those that are enabled in them, and the root group has no limits.
    """
    paths = _group_paths(controller, proc)
    for version, root, mount in _mounts(controller, proc):
        if version in paths:
            for folder in _ancestors(mount, root, paths[version]):
                yield version, folder


def read_lines(file: Path) -> list[str]:
    """Return the lines of a file of ``/proc`` or of a cgroup; none if there is no such file."""
    # A missing file is the usual case: another cgroup version, a root group, another operating system.
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _group_paths(controller: str, proc: Path) -> dict[int, str]:
    """Return the group's path in the v2 hierarchy and in the v1 hierarchy of the controller."""
    paths = {}
    for line in read_lines(proc / "cgroup"):
        # cgroups(7): ``hierarchy-ID:controller-list:cgroup-path``; v2 is always hierarchy 0.
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0":
            paths[2] = path
        elif controller in controllers.split(","):
            paths[1] = path
    return paths


def _mounts(controller: str, proc: Path) -> Iterator[tuple[int, str, Path]]:
    """Return version, root and mount point of each mounted cgroup hierarchy (proc(5), mountinfo)."""
    for line in read_lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(" "), after.split(" ", 2)
        if kind == "cgroup2":
            yield 2, fields[3], Path(fields[4])
        elif kind == "cgroup" and controller in options.split(","):
            yield 1, fields[3], Path(fields[4])


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
