"""Copies of objects on this machine, while they are read: one for all processes, removed when none needs it.

Each is in a folder that its readers lock; what a killed process left is not locked, and the next run
removes it. Reads no rows.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lading.batch.inputs import InputFile
from lading.batch.objects import Objects, changed, is_url
from lading.blobs.locks import DirectoryLock, file_lock, if_unlocked, lock_directory
from lading.blobs.os_errors import destination_errors
from lading.errors import DigestMismatch, SizeMismatch, UsageError

_CHUNK_BYTES = 1 << 20
_MOST_KEPT_BYTES = 16 << 30
_NOT_KEPT_SHARE = 4
_VERSION = ".version"


class Spool:
    """The copies that this process has in its hands: the last one, and before that as many as fit."""

    def __init__(self, *, keep_bytes: int = 0) -> None:
        # One folder for all runs of a user: processes of several engines meet there.
        self._root = Path(tempfile.gettempdir()) / f"lading-batch-{os.getuid()}"
        self._keep_bytes = keep_bytes
        self._objects: Objects | None = None
        self._copies: dict[tuple[str, str], _Copy] = {}
        # Which of them is kept only until the next one is fetched.
        self._last: tuple[str, str] | None = None

    def connect(self) -> Objects:
        """Return the connections of this process, made when they are first asked for."""
        # Runs of files on this machine need no botocore.
        self._objects = self._objects or Objects()
        return self._objects

    def fetch(self, file: InputFile) -> InputFile:
        """Return the file as it can be opened here, with its SHA-256; one that is no object is as it was.

        A copy stays until the next one is fetched, or longer if `keep_bytes` allow it. Raises `BatchChanged`
        if the object is not what it was when it was listed, or has not the SHA-256 that is known of it.
        """
        if not is_url(file.path):
            return file
        pinned = (file.path, file.etag)
        if pinned in self._copies:
            return self._copies[pinned].file
        if self._last is not None:
            _release(self._copies.pop(self._last).lock)
            self._last = None
        kept = sum(copy.file.size_bytes for copy in self._copies.values())
        self._copies[pinned] = self._copied(file)
        if kept + file.size_bytes > self._keep_bytes:
            self._last = pinned
        return self._copies[pinned].file

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty folder, which is removed at the end."""
        while True:
            folder = self._made(f"part-{uuid.uuid4().hex}")
            # Another run may have taken it for abandoned before it was locked.
            if (lock := lock_directory(folder)) is not None:
                break
        try:
            yield folder
        finally:
            _release(lock)

    def sweep(self) -> None:
        """Remove what killed processes have left."""
        if self._root.is_dir():
            for path in self._root.iterdir():
                if path.is_dir():
                    if_unlocked(path, lambda path=path: shutil.rmtree(path))  # type: ignore[misc]

    def close(self) -> None:
        """Let go of all copies and close all connections."""
        for copy in self._copies.values():
            _release(copy.lock)
        self._copies.clear()
        self._last = None
        if self._objects is not None:
            self._objects.close()

    def _made(self, name: str) -> Path:
        # Other users of this machine must neither read rows nor put files here.
        with destination_errors(f"`{self._root}`"):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self._root.lstat()
            if owner.st_uid != os.getuid() or self._root.is_symlink():
                hint = "name another folder in `TMPDIR`"
                where = f"`{self._root}`"
                raise UsageError(where, expected="a folder of this user", found="another's", hint=hint)
            (self._root / name).mkdir(exist_ok=True)
        return self._root / name

    def _copied(self, file: InputFile) -> _Copy:
        """Return the copy of this machine, made by whichever process was first."""
        pinned = (file.path, file.etag, file.version)
        name = hashlib.sha256(msgspec.json.encode(pinned)).hexdigest()[:32]
        self._made(name)
        with file_lock(self._root / f"{name}.lock"):
            while True:
                folder = self._made(name)
                # Held from here on; None if its last reader has just removed it.
                if (lock := lock_directory(folder)) is not None:
                    break
            try:
                known = next((path for path in folder.iterdir() if not path.name.startswith(".")), None)
                return _Copy(_as_copied(file, known) if known else self._download(file, folder), lock)
            except BaseException:
                _release(lock)
                raise

    def _download(self, file: InputFile, folder: Path) -> InputFile:
        """Read an object once: to the disk, and through SHA-256."""
        digest = f"sha256:{file.sha256}" if file.sha256 else ""
        sha256, size_bytes = hashlib.sha256(), 0
        scratch = folder / f".{os.getpid()}"
        try:
            download = self.connect().open(file.path, file.etag, file.version, digest)
            with destination_errors(f"`{folder}`"), download.file, scratch.open("wb") as out:
                while chunk := download.file.read(_CHUNK_BYTES):
                    sha256.update(chunk)
                    size_bytes += len(chunk)
                    out.write(chunk)
        except (DigestMismatch, SizeMismatch):
            raise changed(f"`{file.path}`") from None
        if size_bytes != file.size_bytes:
            raise changed(f"`{file.path}`")
        # Its name ends as the object's does: by that readers know whether it is packed.
        path = folder / f"{sha256.hexdigest()}{'.gz' if file.path.lower().endswith('.gz') else ''}"
        (folder / _VERSION).write_text(download.version)
        scratch.rename(path)
        return _as_copied(file, path)


@contextmanager
def spooling() -> Iterator[Spool]:
    """Yield the copies of a run, as many as fit; what killed runs have left is removed first."""
    spool = Spool(keep_bytes=room_bytes())
    spool.sweep()
    with closing(spool):
        yield spool


@dataclass(frozen=True)
class _Copy:
    file: InputFile
    lock: DirectoryLock


def room_bytes() -> int:
    """Return how many bytes of copies a run keeps from the plan to the scoring: no more than others miss."""
    # Parts are written to the same disk, and other programs need it too.
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return min(_MOST_KEPT_BYTES, free // _NOT_KEPT_SHARE)


def _as_copied(file: InputFile, path: Path) -> InputFile:
    sha256, version = path.name.removesuffix(".gz"), (path.parent / _VERSION).read_text()
    if file.sha256 and file.sha256 != sha256:
        raise changed(f"`{file.path}`")
    return msgspec.structs.replace(file, path=str(path), sha256=sha256, version=file.version or version)


def _release(lock: DirectoryLock) -> None:
    lock.if_last(lambda: shutil.rmtree(lock.path))
    lock.release()
