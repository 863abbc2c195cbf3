"""Claims on files: whoever writes a temporary file holds a kernel lock on it for as long as it lives.

A killed process lets go of its claims by itself, so what is unclaimed is abandoned, however young it is.
Works among the processes of one machine, and among machines where their shared file system passes locks on:
NFS does, and makes of `flock` a lock that needs the file open for writing (flock(2)).
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
def claim(path: Path) -> Iterator[BinaryIO]:
    """Hold `path`, made if it is not there, open for writing; wait for whoever holds it.

    The file is removed at the end, unless it was renamed away meanwhile.
    """
    file = _locked(path)
    try:
        yield file
    finally:
        with file:
            if is_at(file.fileno(), path):
                path.unlink()


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Hold the name `path` for a temporary folder, which is not there at first and gone at the end.

    Waits for whoever holds it. What a killed process left under this name is removed first.
    """
    with claim(path.with_name(f"{path.name}.lock")):
        shutil.rmtree(path, ignore_errors=True)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def discard_if_abandoned(path: Path) -> bool:
    """Remove the file at `path` unless somebody holds it; return whether this call removed it."""
    file: BinaryIO
    try:
        try:
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
        if not is_at(file.fileno(), path):
            return False
        path.unlink()
    return True


def _locked(path: Path) -> BinaryIO:
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            raise
        # Between opening and locking, the holder before us may have removed the file or renamed it away.
        if is_at(file.fileno(), path):
            return file
        file.close()


def is_at(handle: int, path: Path) -> bool:
    """Return whether `path` is still the file or directory that is open as `handle`."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


class Hold:
    """A hold on a directory; `release` ends it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def end_alone(self, path: Path, then: Callable[[], object]) -> bool:
        """Do `then` if nobody else holds the directory; False if somebody does. Others may take it away.

        It is taken away already if it is not at `path` any more: then `then` is not done, and it is True.
        """
        # To turn a shared lock into the only one would let go of it as well (flock(2)).
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if is_at(self._handle, path):
            then()
        return True

    def release(self) -> None:
        """Let go; again is harmless."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def hold(path: Path) -> Hold | None:
    """Hold the directory `path`; None if there is none, or if it was taken away meanwhile."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    held = Hold(handle)
    try:
        # Whoever takes it away locks it for the moment of a rename.
        fcntl.flock(handle, fcntl.LOCK_SH)
        if is_at(handle, path):
            return held
    except BaseException:
        held.release()
        raise
    held.release()
    return None


def nobody_holds(path: Path, *, then: Callable[[], object] | None = None) -> bool:
    """Return whether `path` is there and nobody holds it; if so, do `then` before anybody can."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not is_at(handle, path):
            return False
        if then is not None:
            then()
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
