"""Environments by lock: ``<root>/<64 hexadecimal digits>-py3.11/``, each built once on a host and shared.

An environment under its own name is complete: it is built in ``building/``, checked, marked with its lock and
renamed. One that was damaged since is built again. A process that uses one holds a lock on its folder; `gc`
removes only those that nobody uses. For a local disk: the locks are the kernel's. Runs no code of a bundle.
Those that come ready in an image have the same names, are checked alike, and are never built or removed.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import shutil
import weakref
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from lading.blobs.locks import (
    DirectoryLock,
    file_lock,
    file_lock_if_free,
    if_unlocked,
    is_unlocked,
    lock_directory,
    remove_if_unlocked,
)
from lading.bundle.environment_lock import EnvironmentLock
from lading.errors import EnvironmentFailed
from lading.ref import is_digest
from lading.runtime.python.builders import Build
from lading.runtime.python.contents import find_damage, installed_versions
from lading.runtime.python.installers import Installer, OnStep, choose_installer
from lading.runtime.python.interpreters import find_interpreter
from lading.settings import environments_folder, ready_environments_folder, store_settings

DEFAULT_TIMEOUT_S = 1800.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PLACE_HINT = "name a folder that can be written to, on a disk with room, in `LADING_CACHE`"


@dataclass(frozen=True, eq=False)
class Environment:
    """One environment, in use by this process until `release` or for as long as the object lives."""

    path: Path
    lock: EnvironmentLock
    python: str
    _hold: DirectoryLock

    def __post_init__(self) -> None:
        weakref.finalize(self, self._hold.release)

    @property
    def interpreter(self) -> Path:
        """The Python that has the packages of the environment."""
        return self.path / "bin" / "python"

    def installed(self) -> dict[str, str]:
        """Return the version of each distribution that is installed here, by its normal name."""
        return installed_versions(self.path, self.python)

    def release(self) -> None:
        """Let others remove the environment; a second time is no error."""
        self._hold.release()


@dataclass(frozen=True)
class RemovedEnvironment:
    """An environment that `gc` removed: the digest of its lock, its Python, its size and its last use."""

    digest: str
    python: str
    size_bytes: int
    used_at: float  # Unix time


class EnvironmentStore:
    """The environments in the folder `root`, created on first use. Safe among processes of one machine.

    `installer` is uv where it is installed, else pip. With `max_bytes`, the least recently used are removed
    after each build as `gc` does. Before one is built, it is looked for in the folder `ready`, if any.
    """

    def __init__(
        self,
        root: Path,
        *,
        installer: Installer | None = None,
        max_bytes: int | None = None,
        ready: Path | None = None,
    ) -> None:
        self.root = root.absolute()
        self._ready = ready
        self._building = self.root / "building"
        self._installer = installer
        self._max_bytes = max_bytes

    def get(
        self,
        lock: EnvironmentLock,
        python: str,
        *,
        wheels: Path | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        on_progress: OnStep = lambda _step: None,
    ) -> Environment:
        """Return the environment of `lock` for the minor version `python`, and build it if there is none.

        It is built from the package index that pip is configured with, or offline from a folder of `wheels`.
        Processes that ask together wait for the first. Raises `EnvironmentPythonMissing`, and
        `EnvironmentFailed` with nothing left behind, or for one that came ready and was changed since.
        """
        ready = self._open_ready(lock, python)
        if ready is not None:
            return ready
        path = self.root / environment_name(lock, python)
        with _os_errors(self.root):
            opened = _open(path, lock, python)
            if opened is None:
                request = _Request(lock, python, wheels, timeout_s, on_progress)
                opened = self._build(path, request)
                if self._max_bytes is not None:
                    self.gc(keep=(lock.digest,), max_bytes=self._max_bytes)
            return opened

    def has(self, lock: EnvironmentLock, python: str) -> bool:
        """Return whether the environment of `lock` was built; it may be damaged."""
        return (self.root / environment_name(lock, python)).exists()

    def remove(self, lock: EnvironmentLock, python: str) -> bool:
        """Remove the environment of `lock` unless a process uses it; return whether it was removed."""
        path = self.root / environment_name(lock, python)
        with _os_errors(self.root):
            return path.exists() and self._remove(path)

    def gc(
        self,
        keep: Collection[str] = (),
        *,
        max_bytes: int = 0,
        before: float = math.inf,
        dry_run: bool = False,
    ) -> list[RemovedEnvironment]:
        """Remove the least recently used until all together take at most `max_bytes`, and return them.

        Never one whose lock's digest is in `keep`, nor one that a process uses, nor one that was last used
        from the Unix time `before` on; these count as well. What killed builds left is removed first.
        """
        with _os_errors(self.root):
            if not dry_run:
                self._sweep()
            sizes = [(path.stat().st_mtime, path, _size(path)) for path in _entries(self.root)]
            total, removed = sum(size for _, _, size in sizes), []
            for used_at, path, size in sorted(sizes):
                if total <= max_bytes or used_at >= before:
                    break
                digest, python = f"sha256:{path.name[:64]}", path.name[67:]
                if digest not in keep and (is_unlocked(path) if dry_run else self._remove(path)):
                    total -= size
                    removed.append(RemovedEnvironment(digest, python, size, used_at))
            return removed

    def _open_ready(self, lock: EnvironmentLock, python: str) -> Environment | None:
        """Return the environment that came with the image, or None if it came with none for this lock."""
        if self._ready is None:
            return None
        path = self._ready / environment_name(lock, python)
        with _os_errors(self._ready):
            opened = _open(path, lock, python)
        if opened is None and path.is_dir():
            raise EnvironmentFailed(
                f"environment `{path.name[:12]}` in `{self._ready}`",
                expected="what its lock names",
                found=find_damage(path, lock, python) or "another",
                hint="it was changed since the image was built: build and pull the image again",
            )
        return opened

    def _build(self, path: Path, request: _Request) -> Environment:
        lock, python = request.lock, request.python
        interpreter = find_interpreter(python)
        self._building.mkdir(parents=True, exist_ok=True)
        with self._locked(path, request.on_progress) as held:
            # Another process may have built it while this one waited.
            opened = _open(path, lock, python)
            if opened is not None:
                return opened
            self._sweep(own=path.name)
            if path.exists():
                request.on_progress("removing a damaged environment")
                self._discard(path)
            folder = self._aside(path)
            build = Build(
                lock,
                f"environment `{path.name[:12]}`",
                python,
                interpreter,
                choose_installer(self._installer),
                request.wheels,
                request.timeout_s,
                (held,),
            )
            try:
                request.on_progress(f"installing {len(lock.pins)} packages with {build.installer}")
                build.run(folder)
                hold = lock_directory(folder)
                assert hold is not None  # nobody else removes it: its name is locked here
                hold.rename(path)
                return Environment(path, lock, python, hold)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, path: Path, on_progress: OnStep) -> Iterator[int]:
        """Lock the name `path` against other builders, and return the descriptor of the lock."""
        name = self._lock(path)
        with file_lock_if_free(name) as file:
            if file is not None:
                yield file.fileno()
                return
        on_progress("waiting for another process that builds the environment")
        with file_lock(name) as file:
            yield file.fileno()

    def _sweep(self, own: str | None = None) -> None:
        """Remove what killed builds left, but nothing of a build that goes on; `own` is locked here."""
        for path in sorted(self._building.iterdir()) if self._building.is_dir() else ():
            if path.suffix == ".lock":
                remove_if_unlocked(path)
                continue
            if self._lock(path).stem == own:
                _remove_tree(path)
                continue
            with file_lock_if_free(self._lock(path)) as file:
                if file is not None:
                    _remove_tree(path)

    def _remove(self, path: Path) -> bool:
        """Remove an environment unless a process uses or builds it; return whether it was removed."""
        self._building.mkdir(parents=True, exist_ok=True)
        aside = self._aside(path)
        with file_lock_if_free(self._lock(path)) as file:
            # Renamed first: a process that finds it under its own name must find all of it.
            if file is None or not if_unlocked(path, lambda: path.replace(aside)):
                return False
            shutil.rmtree(aside, ignore_errors=True)
        return True

    def _discard(self, path: Path) -> None:
        """Take a damaged environment away, also from a process that uses it: the next has the same files."""
        aside = self._aside(path)
        path.replace(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _aside(self, path: Path) -> Path:
        return self._building / f"{path.name}.{secrets.token_hex(4)}"

    def _lock(self, path: Path) -> Path:
        # `<digest>-py3.11` of `<digest>-py3.11.0a1b2c3d` and of `<digest>-py3.11.0a1b2c3d.txt`.
        return self._building / f"{'.'.join(path.name.split('.')[:2])}.lock"


def environments_of_host(root: Path | None = None) -> EnvironmentStore:
    """Return the environments in the folder `root`, by default this user's, bounded as the settings say.

    In an image, those that came with it too.
    """
    return EnvironmentStore(
        root or environments_folder(),
        max_bytes=store_settings().environments_max_bytes,
        ready=ready_environments_folder(),
    )


@dataclass(frozen=True)
class _Request:
    lock: EnvironmentLock
    python: str
    wheels: Path | None
    timeout_s: float
    on_progress: OnStep


def environment_name(lock: EnvironmentLock, python: str) -> str:
    """Return the name of the folder of an environment."""
    return f"{lock.digest.removeprefix('sha256:')}-py{python}"


def _open(path: Path, lock: EnvironmentLock, python: str) -> Environment | None:
    """Return the environment at `path`, or None if there is none or it is damaged."""
    hold = lock_directory(path)
    if hold is None:
        return None
    try:
        if find_damage(path, lock, python) is None:
            # The folder's time is when it was last used; on a read-only disk it stays as it is.
            with contextlib.suppress(OSError):
                os.utime(path)
            return Environment(path, lock, python, hold)
    except BaseException:
        hold.release()
        raise
    hold.release()
    return None


def _entries(root: Path) -> list[Path]:
    paths = root.iterdir() if root.is_dir() else ()
    return [path for path in paths if path.name[64:67] == "-py" and is_digest(f"sha256:{path.name[:64]}")]


def _size(path: Path) -> int:
    below = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(max(_link_size(file), 0) for file in below)


def _link_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0  # Another process builds or removes here.


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _os_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        expected = "room on the disk" if error.errno in _FULL else "to read and write them"
        raise EnvironmentFailed(
            f"environments in `{root}`", expected=expected, found=text, hint=_PLACE_HINT
        ) from error
