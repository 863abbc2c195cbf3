"""What is installed in an environment, held against its lock. Reads metadata alone, and imports nothing."""

from __future__ import annotations

import csv
import os
from importlib import metadata
from pathlib import Path

from lading.bundle.environment_lock import (
    ENVIRONMENT_LOCK_FILE,
    EnvironmentLock,
    normal_name,
    normal_version,
)


def write_marker(path: Path, lock: EnvironmentLock) -> None:
    """State in the environment at `path` that it is complete; what has no marker is none."""
    (path / ENVIRONMENT_LOCK_FILE).write_bytes(lock.to_bytes())


def find_damage(path: Path, lock: EnvironmentLock, python: str) -> str | None:
    """Return what is not as it was built, for a sentence, or None if all is."""
    try:
        marked = (path / ENVIRONMENT_LOCK_FILE).read_bytes()
    except OSError:
        marked = b""
    if marked != lock.to_bytes():
        return "no marker of a complete one"
    if not os.access(path / "bin" / "python", os.X_OK):
        return "no interpreter"
    return find_difference(path, lock, python)


def find_difference(path: Path, lock: EnvironmentLock, python: str) -> str | None:
    """Return what of the packages is not as the lock and their own records say, or None if all is."""
    return _compare(installed_versions(path, python), lock.versions) or _damaged_file(path, python)


def _compare(installed: dict[str, str], wanted: dict[str, str]) -> str | None:
    """Return the first distribution that differs between what is installed and the lock, or None."""
    for name in sorted(installed.keys() | wanted.keys()):
        if name not in wanted:
            return f"`{name}=={installed[name]}`, which it does not name"
        if name not in installed:
            return f"no `{name}`"
        if installed[name] != wanted[name]:
            return f"`{name}=={installed[name]}` instead of `{name}=={wanted[name]}`"
    return None


def _site_packages(path: Path, python: str) -> Path:
    return path / "lib" / f"python{python}" / "site-packages"


def installed_versions(path: Path, python: str) -> dict[str, str]:
    """Return the version of each distribution in the environment at `path`, by its normal name."""
    distributions = metadata.distributions(path=[str(_site_packages(path, python))])
    return {
        normal_name(distribution.metadata["Name"] or ""): normal_version(distribution.version or "") or ""
        for distribution in distributions
    }


def _damaged_file(path: Path, python: str) -> str | None:
    """Return the first file that is missing or of another size than its package recorded, or None.

    Sizes alone: after a crash of the machine files may be empty, and to read all bytes takes seconds.
    """
    site = _site_packages(path, python)
    for record in sorted(site.glob("*.dist-info/RECORD")):
        with record.open(encoding="utf-8", newline="") as file:
            # RECORD: path, digest and size of every file (PEP 376); bytecode and itself have no size.
            for name, _, size in csv.reader(file):
                # Programs in `bin` are no part of what runs.
                if size and not name.startswith(("../", "/")) and _file_size(site / name) != int(size):
                    return f"`{name}` damaged"
    return None


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1
