"""What happens to a log besides writing: segments become Parquet files, and the oldest files go.

Runs in a thread of the writer, so that records are taken meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from lading.clock import back_off_s
from lading.errors import one_line
from lading.monitor.log.files import parquet_of
from lading.monitor.log.layout import HOUR_S, LABELS, SEGMENTS, hour_folders
from lading.monitor.log.segments import segment_paths, taken_over
from lading.runtime.host.priority import step_behind

log = logging.getLogger("lading.log")

_STEP = 5
_TURN_S = 10.0
_DAY_S = 86_400
_ABANDONED_S = 3600.0


class Keeper:
    """The thread that makes Parquet files of closed segments and keeps the log within its limits.

    Limits of a log in a bucket are kept by its uploader: there `max_age_days` and `max_bytes` are 0.
    """

    def __init__(self, root: Path, *, max_age_days: float = 0, max_bytes: int = 0) -> None:
        self._root = root
        self._max_age_s = max_age_days * _DAY_S
        self._max_bytes = max_bytes
        self._wake = threading.Event()
        self._ending = False
        self._failures = 0
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Begin a turn: segments were closed."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """End after a last turn, or after `timeout_s`; the next writer does what is left."""
        self._ending = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        # A Parquet file can wait for requests and for the thread that takes records.
        step_behind(threading.get_native_id(), _STEP)
        while True:
            ending = self._ending
            try:
                self.turn(time.time())
                self._failures, self._failure = 0, ""
            except Exception as error:  # The edge of a thread: the next turn tries again.
                self._failures += 1
                if self._failure != (failure := one_line(error)):
                    self._failure = failure
                    log.exception("the files of the prediction log cannot be kept; the next turn tries again")
            if ending:
                return
            pause_s = back_off_s(self._failures, first_s=1.0, most_s=_TURN_S) if self._failures else _TURN_S
            self._wake.wait(pause_s)
            self._wake.clear()

    def turn(self, now: float) -> None:
        """Turn every closed segment into a Parquet file, then remove what is beyond the limits."""
        convert_closed(self._root)
        remove_leftovers(self._root, now)
        if self._max_age_s or self._max_bytes:
            for path in beyond_limits(self._root, now, self._max_age_s, self._max_bytes):
                path.unlink(missing_ok=True)
                for folder in (path.parent, path.parent.parent):
                    with contextlib.suppress(OSError):  # Not empty: that is the usual case.
                        folder.rmdir()


def convert_closed(root: Path) -> int:
    """Make Parquet files of all segments that no writer holds; return how many. Raises `OSError`."""
    count = 0
    for segment in segment_paths(root):
        with taken_over(segment) as is_ours:
            if is_ours:
                # In this order: killed between the two, the file exists, and the next turn only removes.
                parquet_of(root, segment)
                segment.unlink(missing_ok=True)
                count += 1
    return count


def remove_leftovers(root: Path, now: float) -> None:
    """Remove temporary files that a killed process has left behind."""
    for path in (root / SEGMENTS).glob(".*"):
        with contextlib.suppress(OSError):
            # Younger ones may belong to another server that writes here.
            if path.suffix in (".new", ".parquet") and now - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()


def beyond_limits(root: Path, now: float, max_age_s: float, max_bytes: int) -> Iterator[Path]:
    """Iterate over the files that are to go, oldest first; a limit of 0 is none."""
    folders = sorted([*hour_folders(root), *hour_folders(root / LABELS)])
    files = [
        (began, path, _size_bytes(path))
        for began, folder in folders
        for path in sorted(folder.glob("*.parquet"))
    ]
    total = sum(size for _, _, size in files) + sum(map(_size_bytes, segment_paths(root)))
    for began, path, size in files:
        too_old = max_age_s and began + HOUR_S < now - max_age_s
        if not too_old and not (max_bytes and total > max_bytes):
            return
        total -= size
        yield path


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
