"""Unpacked bundles by digest: ``<root>/<64 hexadecimal digits>/``, each unpacked once and then shared.

A bundle under its own name is always whole as it was unpacked; opening it checks every byte again, so
one that was changed since is refused. Those least recently opened go when there are more than `max_bytes`
of them, but none that a process has open: `holds` knows. For a local disk: the locks are the kernel's.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lading.bundle import Bundle
from lading.errors import BundleError
from lading.ref import is_digest
from lading.registry import Removed
from lading.registry.claim import claim, discard_if_abandoned
from lading.registry.faults import registry_faults
from lading.registry.holds import Hold, hold, nobody_holds


class BundleCache:
    """Bundles in the folder `root`, made when first needed. Safe among processes of one machine."""

    def __init__(self, root: Path, *, max_bytes: int | None = None) -> None:
        self._root = root
        self._unpacking = root / "unpacking"
        self._max_bytes = max_bytes

    def bundle(self, digest: str, unpack: Callable[[Path], Bundle], *, size_bytes: int = 0) -> Bundle:
        """Open the bundle; the first who asks has `unpack` make it, while others wait for it.

        It stays in the cache for as long as the object that is given back lives. `size_bytes`, about, is
        made room for before it is unpacked.
        """
        path = self._root / digest.removeprefix("sha256:")
        with registry_faults(str(self._root)):
            while True:
                held = hold(path)
                if held is None:
                    unpacked = self._unpack(path, unpack, size_bytes)
                    if unpacked is not None:
                        return unpacked
                    continue
                return _kept(held, lambda: self._open(path, digest))

    def sweep(self, wanted: Callable[[], set[str]], before: float, *, dry_run: bool) -> list[Removed]:
        """Remove what was last opened before `before`, not `wanted` nor in use, and broken-off rests."""
        removed, keep = [], wanted()
        with registry_faults(str(self._root)):
            for path in _entries(self._root, before):
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

    def _open(self, path: Path, digest: str) -> Bundle:
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
        for path in self._root.iterdir():
            # Another process may be removing it as well.
            with contextlib.suppress(FileNotFoundError):
                if is_digest(f"sha256:{path.name}"):
                    there.append((path.stat().st_mtime, _size(path), path))
        total = size_bytes + sum(size for _, size, _ in there)
        for _, size, path in sorted(there):
            if total <= self._max_bytes:
                break
            if self._remove(path):
                total -= size

    def _remove(self, path: Path) -> bool:
        """Take a bundle that nobody holds away under its name at once, then remove its files."""
        self._unpacking.mkdir(parents=True, exist_ok=True)
        aside = self._unpacking / f"{path.name}.{secrets.token_hex(4)}"
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

    def _lock(self, path: Path) -> Path:
        return self._unpacking / f"{path.name[:64]}.lock"


def _kept(held: Hold, open_it: Callable[[], Bundle]) -> Bundle:
    """Open a bundle that is held until the object is gone."""
    try:
        bundle = open_it()
    except BaseException:
        held.release()
        raise
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
        error.hint = hint
        raise


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
    if not path.is_dir():
        return path.stat().st_size
    return sum(os.lstat(Path(folder) / name).st_size for folder, _, names in os.walk(path) for name in names)
