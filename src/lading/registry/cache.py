"""Unpacked bundles by digest: ``<root>/<64 hexadecimal digits>/``, each unpacked once and then shared.

A bundle under its own name is always whole as it was unpacked; opening it checks every byte again, so
one that was changed since is refused.
"""

from __future__ import annotations

import os
import secrets
import shutil
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


class BundleCache:
    """Bundles in the folder `root`, made when first needed. Safe among processes of one machine."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._unpacking = root / "unpacking"

    def bundle(self, digest: str, unpack: Callable[[Path], Bundle]) -> Bundle:
        """Open the bundle; the first who asks has `unpack` make it, while others wait for it."""
        path = self._root / digest.removeprefix("sha256:")
        with registry_faults(str(self._root)):
            unpacked = None if path.exists() else self._unpack(path, unpack)
            if unpacked is not None:
                return unpacked
            with hinted(f"remove `{path}`: it is unpacked again from the store"):
                return Bundle.open(path, digest=digest)

    def sweep(self, wanted: Callable[[], set[str]], before: float, *, dry_run: bool) -> list[Removed]:
        """Remove what is older than `before` and not `wanted`, and what broken-off unpackings left."""
        removed, keep = [], wanted()
        with registry_faults(str(self._root)):
            for path in _entries(self._root, before):
                digest = f"sha256:{path.name}"
                # Asked again for each: meanwhile it may have been pushed.
                if not is_digest(digest) or digest in keep or digest in wanted():
                    continue
                removed.append(Removed("unpacked bundle", digest, _size(path)))
                if not dry_run:
                    self._remove(path)
            for path in _entries(self._unpacking, before):
                size = _size(path)
                if dry_run or self._clear(path):
                    removed.append(Removed("temporary file", path.name, size))
        return removed

    def _unpack(self, path: Path, unpack: Callable[[Path], Bundle]) -> Bundle | None:
        """Make the bundle at `path`; None if another did while this one waited."""
        self._unpacking.mkdir(parents=True, exist_ok=True)
        folder = self._unpacking / path.name
        with claim(self._lock(path)):
            if path.exists():
                return None
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                bundle = unpack(folder / "bundle")
                bundle.path.rename(path)
                return replace(bundle, path=path)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _remove(self, path: Path) -> None:
        """Take a bundle away under its name at once, then remove its files."""
        self._unpacking.mkdir(parents=True, exist_ok=True)
        aside = self._unpacking / f"{path.name}.{secrets.token_hex(4)}"
        with claim(self._lock(path)):
            if path.exists():
                path.replace(aside)
                shutil.rmtree(aside)

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
