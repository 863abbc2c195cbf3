"""Claims on files: whoever writes a temporary file holds a kernel lock on it for as long as it lives.

A killed process lets go of its claims by itself, so what is unclaimed is abandoned, however young it is.
Works among the processes of one machine only, as the folder registry does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
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
            if _is_at(file, path):
                path.unlink()


def discard_if_abandoned(path: Path) -> bool:
    """Remove the file at `path` unless somebody holds it; tell whether this call removed it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _is_at(file, path):
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
        if _is_at(file, path):
            return file
        file.close()


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(file.fileno())
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
