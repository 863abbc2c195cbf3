"""Locks on files and on directories, held by a process for as long as it lives.

The kernel frees the locks of a killed process, so what is unlocked is abandoned, however young it is. They
work among the processes of one machine, and among machines whose shared file system passes locks on: NFS
does, and makes of `flock` a lock that needs the file open for writing (flock(2)).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def file_lock(path: Path) -> Iterator[BinaryIO]:
    """Lock the file `path`, created if it does not exist, and open it for writing; wait for another holder.

    The file is removed at the end, unless it was renamed meanwhile.
    """
    file = _locked(path)
    try:
        yield file
    finally:
        with file:
            if _is_at(file.fileno(), path):
                path.unlink()


@contextmanager
def file_lock_if_free(path: Path) -> Iterator[BinaryIO | None]:
    """Lock the file `path` as `file_lock` does, but yield None at once where another process holds it."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        # Its holder may have removed or renamed it since it was opened: then it is not the file at `path`.
        if not _is_at(file.fileno(), path):
            yield None
            return
        try:
            yield file
        finally:
            if _is_at(file.fileno(), path):
                path.unlink()


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Lock the name `path` for a temporary folder, which does not exist at first and is removed at the end.

    Waits for another holder. What a killed process left under this name is removed first.
    """
    with file_lock(path.with_name(f"{path.name}.lock")):
        shutil.rmtree(path, ignore_errors=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def remove_if_unlocked(path: Path) -> bool:
    """Remove the file at `path` unless a process holds its lock; return whether this call removed it."""
    file: BinaryIO
    try:
        try:
            # For writing, as NFS wants it.
            file = path.open("r+b")
        except PermissionError:
            # Another user's: who may write to its folder may remove it, and on a local disk lock it as well.
            file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _is_at(file.fileno(), path):
            return False
        path.unlink()
    return True


class DirectoryLock:
    """A shared lock on a directory: as long as one process holds it, `if_unlocked` does nothing."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle

    def rename(self, path: Path) -> None:
        """Rename the directory, and keep holding it."""
        self.path = self.path.rename(path)

    def if_last(self, act: Callable[[], object]) -> bool:
        """Call `act` if no other process holds the directory; return False if one does.

        From then on others may take the directory away; if one has, `act` is not called and it is True.
        """
        # Turning a shared lock into an exclusive one lets go of it in between (flock(2)); said in two steps,
        # it is plain that the directory must be looked at again.
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _is_at(self._handle, self.path):
            act()
        return True

    def release(self) -> None:
        """Release the lock; a second time is no error."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    @property
    def released(self) -> bool:
        """Whether `release` was called."""
        return self._handle < 0


def lock_directory(path: Path) -> DirectoryLock | None:
    """Lock the directory `path`; None if there is none, or if it was taken away meanwhile."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    lock = DirectoryLock(path, handle)
    try:
        # Waits no longer than a rename or removal takes: nothing else locks a directory exclusively.
        fcntl.flock(handle, fcntl.LOCK_SH)
        if _is_at(handle, path):
            return lock
    except BaseException:
        lock.release()
        raise
    lock.release()
    return None


def if_unlocked(path: Path, act: Callable[[], object]) -> bool:
    """Call `act` if the directory `path` exists and nobody holds it, before anybody can; return whether."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(handle, path):
            return False
        act()
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def is_unlocked(path: Path) -> bool:
    """Return whether the directory `path` exists and nobody holds it."""
    return if_unlocked(path, lambda: None)


def _locked(path: Path) -> BinaryIO:
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            raise
        # Between opening and locking, the holder before us may have removed the file or renamed it.
        if _is_at(file.fileno(), path):
            return file
        file.close()


def _is_at(handle: int, path: Path) -> bool:
    """Return whether `path` is still the file or directory that is open as `handle`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
