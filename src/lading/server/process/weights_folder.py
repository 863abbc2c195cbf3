"""The folder in which the workers of one server share weights: made before they start, removed when they end.

`runtime.onnx.shared_weights` decides what is stored there. This runs in the supervisor, which opens no model.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("lading.server")

_PREFIX = "lading-weights-"


@contextmanager
def weights_folder(*, wanted: bool = True) -> Iterator[Path | None]:
    """Return a new folder that only this user can read, and remove it at the end.

    None if it is not `wanted`, or cannot be made, which is no error. Folders that killed servers left are
    removed: they would fill the disk of a container that is restarted.
    """
    made = _make_folder() if wanted else None
    if made is None:
        yield None
        return
    folder, lock = made
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_folder() -> tuple[Path, int] | None:
    """Return a new folder and the descriptor of its lock; None, with a warning, if it cannot be made."""
    folder = None
    try:
        _remove_abandoned(Path(tempfile.gettempdir()))
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = _lock(folder, fcntl.LOCK_SH)
            if lock is not None:
                return folder, lock
            # Another server has taken it for abandoned, between its making and its locking: make another.
    except OSError as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        log.warning("weights are not shared between workers: %s", error)
        return None


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers of which no process is left: workers inherit the lock of theirs."""
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path, kind: int) -> int | None:
    """Lock the folder; return None if it is locked, gone, no folder, or another user's."""
    try:
        # O_NOFOLLOW, because anyone may put a link of this name into /tmp.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    try:
        fcntl.flock(descriptor, kind)
        # Looked up by name again: it may have been removed while this process waited for the lock.
        if folder.stat().st_uid == os.geteuid():
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
