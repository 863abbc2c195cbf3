"""Copies of live requests for a candidate in shadow: run apart, compared, and dropped when busy.

The caller's answer never waits for one: copies are queued, run in a thread of lower priority, and left
out (and counted so) when the queue is full.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from contextlib import suppress
from typing import NamedTuple

from lading.errors import LadingError
from lading.parity import compare
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion, State
from lading.server.observe.windows import Windows

_MOST_WAITING = 64
_NICENESS = 10


class _Copy(NamedTuple):
    release: int
    job: Job
    candidate: ServedVersion


class Shadows:
    """Runs copies of live jobs on candidates, and counts how they agree."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._waiting: queue.Queue[_Copy | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def copy(self, release: int, job: Job, candidate: ServedVersion) -> None:
        """Queue a copy of `job`, which has been answered, for `candidate`; drop it where too many wait."""
        tally = self._windows.tally(release, candidate)
        if candidate.state is not State.READY:
            return
        if candidate.signature.inputs != job.served.signature.inputs:
            tally.shadows.append("failed")
            return
        try:
            self._waiting.put_nowait(_Copy(release, job, candidate))
        except queue.Full:
            tally.shadows.append("dropped")
            return
        if self._thread is None:
            self._start()

    def stop(self) -> None:
        """End the thread after the copy in hand."""
        if self._thread is not None:
            # The thread takes from it as well: only the queue itself knows when it is empty.
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            self._waiting.put(None)
            self._thread.join()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        # On Linux a thread has a niceness of its own.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (copy := self._waiting.get()) is not None:
            self._run(copy)

    def _run(self, copy: _Copy) -> None:
        job, candidate = copy.job, copy.candidate
        assert job.result is not None
        began = time.perf_counter()
        try:
            outputs = candidate.run(job.inputs, tuple(job.result))
        except LadingError as error:
            tally = self._windows.tally(copy.release, candidate)
            tally.shadows.append("failed")
            tally.answered.append((time.perf_counter() - began, None, type(error).__name__))
            return
        took_s = time.perf_counter() - began
        tensors = [one for one in job.served.signature.outputs if one.name in job.result]
        tally = self._windows.tally(copy.release, candidate)
        parity = compare(tensors, job.result, outputs, job.served.manifest.tolerance)
        tally.shadows.append("agreed" if parity.holds else "differed")
        tally.answered.append((took_s, outputs.get(candidate.signature.primary.name), ""))
