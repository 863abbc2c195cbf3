"""Watches files that may change while a process runs, and acts once each time that they have.

By modification time, size and inode, which also change where a platform swaps a symbolic link (Kubernetes
does so for secrets). Nothing is asked of the file system more often than once a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from lading.errors import LadingError

log = logging.getLogger("lading.access")

EVERY_S = 1.0

State = tuple[tuple[int, int, int] | None, ...]


class FileWatch:
    """Calls `changed` in a thread after one of `paths` has changed; what it raises is logged, and no more."""

    def __init__(
        self, paths: Iterable[Path | str], changed: Callable[[], None], *, every_s: float = EVERY_S
    ) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._changed = changed
        self._every_s = every_s
        self._state = self._look()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="file watch", daemon=True)
        self._thread.start()

    def watch(self, paths: Iterable[Path | str]) -> None:
        """Watch these paths from now on; for `changed`, whose file may name others than before."""
        self._paths = tuple(Path(path) for path in paths)
        self._state = self._look()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(self._every_s):
            state = self._look()
            if state == self._state:
                continue
            # Before the call: what changes while it reads is read again.
            self._state = state
            try:
                self._changed()
            except LadingError as error:
                log.error("%s; what was read before still holds", error.message)  # noqa: TRY400 - a sentence says it all
            except Exception:
                log.exception("what was read before still holds")

    def _look(self) -> State:
        return tuple(_state(path) for path in self._paths)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:  # It is being replaced, or gone: which of both shows when it is read.
        return None
    # The inode as well: a restored file may have the time and the size of the one before.
    return status.st_mtime_ns, status.st_size, status.st_ino
