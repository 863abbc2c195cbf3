"""The folder in which the workers of one server share weights: made before they start, removed when they end.

`runtime.onnx.shared_weights` decides what is stored there. This runs in the supervisor, which opens no model.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lading.blobs.locks import DirectoryLock, if_unlocked, lock_directory

log = logging.getLogger("lading.server")

_PREFIX = "lading-weights-"


@contextmanager
def weights_folder(*, wanted: bool = True) -> Iterator[Path | None]:
    """Return a new folder that only this user can read, and remove it at the end.

    None if it is not `wanted`, or cannot be made, which is no error. Folders that killed servers left are
    removed: they would fill the disk of a container that is restarted.
    """
    lock = _make_folder() if wanted else None
    if lock is None:
        yield None
        return
    try:
        yield lock.path
    finally:
        shutil.rmtree(lock.path, ignore_errors=True)
        lock.release()


def _make_folder() -> DirectoryLock | None:
    """Return the lock of a new folder; None, with a warning, if it cannot be made."""
    folder = None
    try:
        _remove_abandoned(Path(tempfile.gettempdir()))
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = lock_directory(folder)
            if lock is not None:
                return lock
            # Another server has taken it for abandoned, between its making and its locking: make another.
    except OSError as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        log.warning("weights are not shared between workers: %s", error)
        return None


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers of which no process is left: workers inherit the lock of theirs."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if _is_ours(folder):
            if_unlocked(folder, functools.partial(shutil.rmtree, folder, ignore_errors=True))


def _is_ours(folder: Path) -> bool:
    """Return whether it is a folder of this user: anyone may put another, or a link, into /tmp."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    # Nobody else can replace it afterwards: in /tmp only its owner may rename or remove it (the sticky bit).
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
