"""The folder by which the workers of one server share weights: made before they start, gone when they end.

What lies in it is for `runtime.prepared` to say. This runs in the supervisor, which opens no model.
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
    """Return a new folder that only this user reads, and remove it at the end.

    None where it is not `wanted` or cannot be made, which is no error. What servers left that were killed
    is removed: in a container that is started again the disk would fill up.
    """
    made = _made() if wanted else None
    if made is None:
        yield None
        return
    folder, handle = made
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _made() -> tuple[Path, int] | None:
    folder = None
    try:
        _remove_abandoned(Path(tempfile.gettempdir()))
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
            handle = _held(folder, fcntl.LOCK_SH)
            if handle is not None:
                return folder, handle
    except OSError as error:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        log.warning("weights are not shared between workers: %s", error)
        return None


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers of which no process is left: workers inherit the hold of theirs."""
    for folder in parent.glob(f"{_PREFIX}*"):
        handle = _held(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if handle is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _held(folder: Path, kind: int) -> int | None:
    """Lock the folder; None where it is locked, gone, another user's, or none."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    try:
        fcntl.flock(handle, kind)
        if folder.stat().st_uid == os.geteuid():
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None
