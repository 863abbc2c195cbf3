"""Holds on directories in use: a shared lock of the kernel that ends with the process, however it ends.

Whoever would remove one asks `nobody_holds` first. Works among the processes of one machine only:
NFS passes the locks of files on, and keeps those of directories to itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from lading.registry.claim import is_at


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
    """Tell whether `path` is there and nobody holds it; if so, do `then` before anybody can."""
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
