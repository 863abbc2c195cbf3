"""Blobs in a folder: ``<root>/sha256/ab/abcd…``, written under ``<root>/tmp`` first.

A blob under its own name is always complete. Knows nothing of bundles, names or versions, and does not check
the bytes that are read: the reader knows the digests and does.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lading.blobs.digest import HashingWriter
from lading.blobs.locks import file_lock, remove_if_unlocked
from lading.blobs.os_errors import registry_errors, unavailable
from lading.ref import is_digest
from lading.registry.not_found import blob_not_found
from lading.registry.records import Removed, StoredBlob

if TYPE_CHECKING:
    from lading.registry.records import ModelVersion


class FolderStore:
    """A `Store` in the folder `root`, created at the first write. Safe among processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "sha256"
        self._temporary = root / "tmp"

    @property
    def where(self) -> str:
        """The folder as text."""
        return str(self._root)

    def put(self, write: Callable[[BinaryIO], object], digest: str, size_bytes: int) -> None:
        """Write under a temporary name, check, sync and rename; a complete blob only gets a new time."""
        path = self._path(digest)
        with registry_errors(self.where):
            if _refresh(path, digest):
                return
            self._temporary.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._temporary / f"{path.name}.{secrets.token_hex(4)}"
            # Locked, so that a sweep takes it for abandoned only once this process has died.
            with file_lock(temporary) as file:
                sink = HashingWriter(file)
                write(cast("BinaryIO", sink))
                sink.hash.check(digest, size_bytes)
                # On the disk before its name is: after a power failure the blob is complete or absent.
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            _sync_folder(path.parent)

    def label(self, version: ModelVersion) -> None:
        """Do nothing: the catalog has it."""

    def attach(self, version: ModelVersion, envelopes: Sequence[bytes]) -> None:
        """Do nothing: the catalog has them."""

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading. Raises `BlobNotFound`."""
        path = self._path(digest)
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise blob_not_found(digest, expected=f"a file `{path}`") from None
        except OSError as error:
            raise unavailable(self.where, error) from error

    def has(self, digest: str) -> bool:
        """Return whether the blob exists."""
        with registry_errors(self.where):
            return self._path(digest).is_file()

    def delete(self, digest: str) -> bool:
        """Remove the blob; return whether it existed."""
        with registry_errors(self.where):
            try:
                self._path(digest).unlink()
            except FileNotFoundError:
                return False
            return True

    def blobs(self) -> Iterator[StoredBlob]:
        """List all blobs in order of their digests."""
        for path in _files(self._blobs, self.where):
            with registry_errors(self.where):
                blob = _stored(path)
            if blob is not None:
                yield blob

    def sweep(self, before: float, *, dry_run: bool) -> list[Removed]:
        """Remove temporary files older than `before` whose writers are dead."""
        removed = []
        for path in _files(self._temporary, self.where):
            with registry_errors(self.where):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                if status.st_mtime <= before and (dry_run or remove_if_unlocked(path)):
                    removed.append(Removed("temporary file", path.name, status.st_size))
        return removed

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self._blobs / name[:2] / name


def _refresh(path: Path, digest: str) -> bool:
    """Renew the time of a complete blob, so that `gc` keeps it; return whether there is one."""
    try:
        with path.open("rb") as file:
            # Damaged on the disk, it counts as absent: pushing its bundle again heals it.
            if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != digest:
                return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _files(folder: Path, where: str) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise unavailable(where, error) from error


def _stored(path: Path) -> StoredBlob | None:
    """Describe a blob, or return None for a file that is no blob or was removed since it was listed."""
    digest = f"sha256:{path.name}"
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return StoredBlob(digest, status.st_size, status.st_mtime) if is_digest(digest) else None


def _sync_folder(folder: Path) -> None:
    # A rename is on the disk only when its folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
