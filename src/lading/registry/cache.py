"""Unpacked bundles by digest: ``<root>/<64 hexadecimal digits>/``, each unpacked once and then shared.

A bundle under its own name is always whole as it was unpacked; opening it checks every byte again. One that
was changed since is never given out, but removed and unpacked anew. Those least recently opened go when there
are more than `max_bytes` of them. None goes that a process has open: `holds` knows. For a local disk: the
locks are the kernel's.
"""

from __future__ import annotations

import contextlib
import logging
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

from lading.blobs.locks import Hold, claim, discard_if_abandoned, hold, nobody_holds
from lading.blobs.os_errors import registry_faults
from lading.errors import BundleError
from lading.ref import is_digest
from lading.registry.records import Removed

if TYPE_CHECKING:
    from lading.bundle import Bundle

log = logging.getLogger("lading.registry")

GRACE_S = 1.0
"""How long a damaged copy waits for others who open it, beyond the time that opening it took."""


class BundleCache:
    """Bundles in the folder `root`, made when first needed. Safe among processes of one machine."""

    def __init__(self, root: Path, *, max_bytes: int | None = None) -> None:
        self.root = root
        self._unpacking = root / "unpacking"
        self._max_bytes = max_bytes

    def bundle(self, digest: str, unpack: Callable[[Path], Bundle], *, size_bytes: int = 0) -> Bundle:
        """Open the bundle; the first who asks has `unpack` make it, while others wait for it.

        It stays in the cache for as long as the object that is given back lives. `size_bytes`, about, is
        made room for before it is unpacked. A damaged copy is unpacked anew, once; raises `BundleError` if
        that fails as well, or somebody has the damaged one open.
        """
        path, healed = self.root / digest.removeprefix("sha256:"), False
        with registry_faults(str(self.root)):
            while True:
                held = hold(path)
                if held is not None:
                    bundle = self._opened(held, path, digest, heal=not healed)
                    healed = healed or bundle is None
                else:
                    bundle = self._unpack(path, unpack, size_bytes)
                    # Others who unpacked meanwhile were not counted. Not under the lock of this one: two
                    # who remove each other's would wait for ever.
                    self._make_room(0)
                if bundle is not None:
                    return bundle

    def sweep(self, wanted: Callable[[], set[str]], before: float, *, dry_run: bool) -> list[Removed]:
        """Remove what was last opened before `before`, not `wanted` nor in use, and broken-off rests."""
        removed, keep = [], wanted()
        with registry_faults(str(self.root)):
            for path in _entries(self.root, before):
                digest = f"sha256:{path.name}"
                # Asked again for each: meanwhile it may have been pushed.
                if not is_digest(digest) or digest in keep or digest in wanted():
                    continue
                size = _size(path)
                if nobody_holds(path) if dry_run else self._remove(path):
                    removed.append(Removed("unpacked bundle", digest, size))
            for path in _entries(self._unpacking, before):
                size = _size(path)
                if dry_run or self._clear(path):
                    removed.append(Removed("temporary file", path.name, size))
        return removed

    def _opened(self, held: Hold, path: Path, digest: str, *, heal: bool) -> Bundle | None:
        """Open the copy that is held; with `heal`, None if it was damaged and is gone now."""

        def open_it() -> Bundle | None:
            began = time.monotonic()
            try:
                return self._open(path, digest)
            except BundleError as error:
                took_s = time.monotonic() - began
                if not heal or not self._discard(path, held, within_s=took_s + GRACE_S):
                    raise
                log.warning("damaged in the cache, unpacked anew: bundle `%s`, %s", digest, error.message)
                return None

        return _kept(held, open_it)

    def _discard(self, path: Path, held: Hold, *, within_s: float) -> bool:
        """Remove a damaged copy that is held here; return whether it is gone: not if somebody goes on using it.

        Others who just open it, as workers do at once, need a moment to find out as well.
        """
        until = time.monotonic() + within_s
        try:
            aside = self._aside(path)
            while True:
                with claim(self._lock(path)):
                    if held.end_alone(path, lambda: path.replace(aside)):
                        shutil.rmtree(aside, ignore_errors=True)
                        return True
                if time.monotonic() > until:
                    return False
                time.sleep(0.02)
        except OSError:
            # As on a read-only disk: what is wrong with the copy says more.
            return False

    def _open(self, path: Path, digest: str) -> Bundle:
        # Imported here: most that is asked of a registry is not in its bundles, and needs no numpy.
        from lading.bundle import Bundle

        # Its time is when it was last opened. On a read-only disk it stays as it is, and nothing is removed.
        with contextlib.suppress(OSError):
            os.utime(path)
        with hinted(f"remove `{path}`: it is unpacked again from the store"):
            return Bundle.open(path, digest=digest)

    def _unpack(self, path: Path, unpack: Callable[[Path], Bundle], size_bytes: int) -> Bundle | None:
        """Make the bundle at `path`; None if another did while this one waited."""
        self._unpacking.mkdir(parents=True, exist_ok=True)
        folder = self._unpacking / path.name
        with claim(self._lock(path)):
            if path.exists():
                return None
            shutil.rmtree(folder, ignore_errors=True)
            self._make_room(size_bytes)
            folder.mkdir()
            try:
                bundle = unpack(folder / "bundle")
                # Held before it can be seen: nobody removes it before it is given out.
                held = hold(bundle.path)
                if held is None:
                    return None
                return _kept(held, lambda: _moved(bundle, path))
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _make_room(self, size_bytes: int) -> None:
        """Remove the least recently opened until `size_bytes` more fit, or nothing is left to remove."""
        if self._max_bytes is None:
            return
        there = []
        for path in self.root.iterdir():
            # Another process may be removing it as well.
            with contextlib.suppress(FileNotFoundError):
                if is_digest(f"sha256:{path.name}"):
                    there.append((path.stat().st_mtime, _size(path), path))
        total = size_bytes + sum(size for _, size, _ in there)
        for _, size, path in sorted(there):
            if total <= self._max_bytes:
                break
            # What another has just removed counts no more either, or two at once would remove twice as much.
            if self._remove(path) or not path.exists():
                total -= size

    def _remove(self, path: Path) -> bool:
        """Take a bundle that nobody holds away under its name at once, then remove its files."""
        aside = self._aside(path)
        with claim(self._lock(path)):
            if not nobody_holds(path, then=lambda: path.replace(aside)):
                return False
            shutil.rmtree(aside)
        return True

    def _clear(self, path: Path) -> bool:
        """Remove a folder or lock of an unpacking that nobody is at."""
        if path.suffix == ".lock":
            return discard_if_abandoned(path)
        with claim(self._lock(path)):
            left = path.exists()
            shutil.rmtree(path, ignore_errors=True)
        return left

    def _aside(self, path: Path) -> Path:
        self._unpacking.mkdir(parents=True, exist_ok=True)
        return self._unpacking / f"{path.name}.{secrets.token_hex(4)}"

    def _lock(self, path: Path) -> Path:
        return self._unpacking / f"{path.name[:64]}.lock"


def _kept(held: Hold, open_it: Callable[[], Bundle | None]) -> Bundle | None:
    """Open a bundle that is held until the object is gone, if there is one."""
    try:
        bundle = open_it()
    except BaseException:
        held.release()
        raise
    if bundle is None:
        held.release()
    else:
        weakref.finalize(bundle, held.release)
    return bundle


def _moved(bundle: Bundle, path: Path) -> Bundle:
    bundle.path.rename(path)
    return replace(bundle, path=path)


@contextmanager
def hinted(hint: str) -> Iterator[None]:
    """Let a `BundleError` say what its reader can do about this copy of the bundle."""
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
    """Return the bytes of a file, or of all files below a folder; what goes meanwhile counts nothing."""
    below = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(map(_file_size, below if path.is_dir() else [path]))


def _file_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0  # Another process unpacks or removes here.
