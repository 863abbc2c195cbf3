"""Unpacked bundles by digest: ``<root>/<64 hexadecimal digits>/``, each unpacked once and then shared.

A bundle under its own name is always complete as it was unpacked; opening it checks every byte again. One
that was changed since is never returned, but removed and unpacked again. The least recently opened are
removed when all together are larger than `max_bytes`, but none that a process has open: it holds a lock on
the directory. For a local disk: the locks are the kernel's.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lading.blobs.locks import (
    DirectoryLock,
    file_lock,
    if_unlocked,
    is_unlocked,
    lock_directory,
    remove_if_unlocked,
)
from lading.blobs.os_errors import registry_errors
from lading.errors import BundleError
from lading.ref import is_digest
from lading.registry.records import Removed

if TYPE_CHECKING:
    from lading.bundle import Bundle

log = logging.getLogger("lading.registry")

_HINT = "bundles are unpacked here: name a folder that can be written to in `LADING_CACHE`"
_HINTS = dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _HINT)
# How long a damaged copy waits for other processes that open it, beyond the time that opening it took.
GRACE_S = 1.0


class BundleCache:
    """Bundles in the folder `root`, which is created on first use. Safe among processes of one machine."""

    def __init__(self, root: Path, *, max_bytes: int | None = None) -> None:
        self.root = root
        self._unpacking = root / "unpacking"
        self._max_bytes = max_bytes

    def bundle(self, digest: str, unpack: Callable[[Path], Bundle], *, size_bytes: int = 0) -> Bundle:
        """Open the bundle; the first process that asks calls `unpack`, while others wait for it.

        It stays in the cache for as long as the returned object lives. Room is made for about `size_bytes`
        before it is unpacked. A damaged copy is unpacked again, once; raises `BundleError` if that fails as
        well, or if another process has the damaged one open.
        """
        path, healed = self.root / digest.removeprefix("sha256:"), False
        with registry_errors(str(self.root), _HINTS):
            while True:
                lock = lock_directory(path)
                if lock is not None:
                    bundle = self._open_locked(lock, digest, heal=not healed)
                    healed = healed or bundle is None
                else:
                    bundle = self._unpack(path, unpack, size_bytes)
                    # What other processes unpacked meanwhile was not counted. Not under the lock of this
                    # bundle: two processes that remove each other's would deadlock.
                    self._make_room(0)
                # None: damaged and removed, or unpacked by another process. Then look again.
                if bundle is not None:
                    return bundle

    def sweep(self, wanted: Callable[[], set[str]], before: float, *, dry_run: bool) -> list[Removed]:
        """Remove what was last opened before `before` and is neither `wanted` nor in use, and leftovers."""
        removed, keep = [], wanted()
        with registry_errors(str(self.root), _HINTS):
            for path in _entries(self.root, before):
                digest = f"sha256:{path.name}"
                # Asked again for each: meanwhile it may have been pushed.
                if not is_digest(digest) or digest in keep or digest in wanted():
                    continue
                size = _size(path)
                if is_unlocked(path) if dry_run else self._remove(path):
                    removed.append(Removed("unpacked bundle", digest, size))
            for path in _entries(self._unpacking, before):
                size = _size(path)
                if dry_run or self._remove_leftover(path):
                    removed.append(Removed("temporary file", path.name, size))
        return removed

    def locks(self) -> dict[str, tuple[str, str]]:
        """Return name and digest of `environment.lock` of each bundle here that has one, by its digest."""
        users = {}
        with registry_errors(str(self.root), _HINTS):
            for path in _entries(self.root, math.inf):
                if not is_digest(f"sha256:{path.name}"):
                    continue
                # Another process may be removing it, and it may be damaged: opening it would tell.
                with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
                    manifest = msgspec.json.decode((path / "bundle.json").read_bytes(), type=_Named)
                    if (lock := manifest.files.get("environment.lock")) is not None:
                        users[f"sha256:{path.name}"] = manifest.name, f"sha256:{lock.sha256}"
        return users

    def _open_locked(self, lock: DirectoryLock, digest: str, *, heal: bool) -> Bundle | None:
        """Open the copy that is locked; with `heal`, return None if it was damaged and is removed now."""

        def open_it() -> Bundle | None:
            began = time.monotonic()
            try:
                return self._open(lock.path, digest)
            except BundleError as error:
                took_s = time.monotonic() - began
                if not heal or not self._discard(lock, within_s=took_s + GRACE_S):
                    raise
                log.warning("damaged in the cache, unpacked again: bundle `%s`, %s", digest, error.message)
                return None

        return _locked_while_open(lock, open_it)

    def _discard(self, lock: DirectoryLock, *, within_s: float) -> bool:
        """Remove a damaged copy that is locked here; return whether it is gone.

        It is not if another process keeps it open. Others that are just opening it, as the workers of a
        server do together, need a moment to notice the damage themselves.
        """
        deadline = time.monotonic() + within_s
        path = lock.path
        try:
            aside = self._aside(path)
            while True:
                with file_lock(self._lock(path)):
                    if lock.if_last(lambda: path.replace(aside)):
                        shutil.rmtree(aside, ignore_errors=True)
                        return True
                if time.monotonic() > deadline:
                    return False
                # The kernel has no wait with a timeout for a lock.
                time.sleep(0.02)
        except OSError:
            # As on a read-only disk: the error of the bundle tells the reader more.
            return False

    def _open(self, path: Path, digest: str) -> Bundle:
        # Imported here, with numpy: see `Registry.pull`.
        from lading.bundle import Bundle

        # The directory's time is when it was last opened. On a read-only disk it stays as it is, and nothing
        # is removed.
        with contextlib.suppress(OSError):
            os.utime(path)
        with with_hint(f"remove `{path}`: it is unpacked again from the store"):
            return Bundle.open(path, digest=digest)

    def _unpack(self, path: Path, unpack: Callable[[Path], Bundle], size_bytes: int) -> Bundle | None:
        """Unpack the bundle to `path`; return None if another process did while this one waited."""
        self._unpacking.mkdir(parents=True, exist_ok=True)
        folder = self._unpacking / path.name
        with file_lock(self._lock(path)):
            if path.exists():
                return None
            shutil.rmtree(folder, ignore_errors=True)
            self._make_room(size_bytes)
            folder.mkdir()
            try:
                bundle = unpack(folder / "bundle")
                # Locked before others can see it: nobody removes it before it is returned.
                lock = lock_directory(bundle.path)
                if lock is None:
                    return None
                return _locked_while_open(lock, lambda: _moved(bundle, lock, path))
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _make_room(self, size_bytes: int) -> None:
        """Remove the least recently opened until `size_bytes` more fit, or nothing is left to remove."""
        if self._max_bytes is None:
            return
        bundles = []
        for path in self.root.iterdir():
            # Another process may be removing it as well.
            with contextlib.suppress(FileNotFoundError):
                if is_digest(f"sha256:{path.name}"):
                    bundles.append((path.stat().st_mtime, _size(path), path))
        total = size_bytes + sum(size for _, size, _ in bundles)
        for _, size, path in sorted(bundles):
            if total <= self._max_bytes:
                break
            # What another process has just removed counts no more either, or two would remove twice as much.
            if self._remove(path) or not path.exists():
                total -= size

    def _remove(self, path: Path) -> bool:
        """Remove a bundle unless a process has it open; return whether it was removed."""
        aside = self._aside(path)
        with file_lock(self._lock(path)):
            # Renamed first: a process that finds it under its own name must find all of it.
            if not if_unlocked(path, lambda: path.replace(aside)):
                return False
            shutil.rmtree(aside)
        return True

    def _remove_leftover(self, path: Path) -> bool:
        """Remove a folder or lock that a killed process left; return whether it was removed."""
        if path.suffix == ".lock":
            return remove_if_unlocked(path)
        with file_lock(self._lock(path)):
            existed = path.exists()
            shutil.rmtree(path, ignore_errors=True)
        return existed

    def _aside(self, path: Path) -> Path:
        self._unpacking.mkdir(parents=True, exist_ok=True)
        return self._unpacking / f"{path.name}.{secrets.token_hex(4)}"

    def _lock(self, path: Path) -> Path:
        # The first 64 characters are the digest: what was renamed aside has the lock of its bundle.
        return self._unpacking / f"{path.name[:64]}.lock"


class _Hashed(msgspec.Struct):
    sha256: str


class _Named(msgspec.Struct):
    """What of a manifest says whose environment it needs; the rest is not read."""

    name: str
    files: dict[str, _Hashed]


def _locked_while_open(lock: DirectoryLock, open_it: Callable[[], Bundle | None]) -> Bundle | None:
    """Open a bundle whose directory stays locked until the returned object is gone."""
    try:
        bundle = open_it()
    except BaseException:
        lock.release()
        raise
    if bundle is None:
        lock.release()
    else:
        weakref.finalize(bundle, lock.release)
    return bundle


def _moved(bundle: Bundle, lock: DirectoryLock, path: Path) -> Bundle:
    lock.rename(path)
    return replace(bundle, path=path)


@contextmanager
def with_hint(hint: str) -> Iterator[None]:
    """Add to a `BundleError` the hint what its reader can do about this copy of the bundle."""
    try:
        yield
    except BundleError as error:
        raise error.with_hint(hint) from error.__cause__


def _entries(folder: Path, before: float) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        try:
            if path.stat().st_mtime <= before:
                yield path
        except FileNotFoundError:
            continue


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; what is removed meanwhile counts 0."""
    below = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(map(_file_size, below if path.is_dir() else [path]))


def _file_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0  # Another process unpacks or removes here.
