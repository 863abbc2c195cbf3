"""Copies of live requests for a candidate in shadow: run in a thread and compared with the answers of live.

The caller's answer never waits for a copy: copies are queued, run at low priority, and dropped (and counted
as dropped) when the queue is full.
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

_MAX_QUEUED = 64
_NICENESS = 10


class _Copy(NamedTuple):
    release: int
    job: Job
    candidate: ServedVersion


class Shadows:
    """Runs copies of live jobs on candidates, and counts how often both agree."""

    def __init__(self, windows: Windows, copies: queue.Queue[_Copy | None] | None = None) -> None:
        self._windows = windows
        self._queue: queue.Queue[_Copy | None] = queue.Queue(_MAX_QUEUED) if copies is None else copies
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def copy(self, release: int, job: Job, candidate: ServedVersion) -> None:
        """Queue a copy of the answered `job` for `candidate`; drop it if the queue is full."""
        counts = self._windows.counts(release, candidate)
        if candidate.state is not State.READY:
            return
        if candidate.signature.inputs != job.served.signature.inputs:
            counts.shadows.append("failed")
            return
        try:
            self._queue.put_nowait(_Copy(release, job, candidate))
        except queue.Full:
            counts.shadows.append("dropped")
            return
        if self._thread is None:
            self._start()

    def stop(self) -> None:
        """Stop the thread after the copy that runs now."""
        if self._thread is not None:
            # The thread takes copies as well, so only the queue itself can say when it is empty.
            with suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()
            self._queue.put(None)
            self._thread.join()

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        # On Linux each thread has a niceness of its own (setpriority(2), "C library/kernel differences").
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while (copy := self._queue.get()) is not None:
            self._run(copy)

    def _run(self, copy: _Copy) -> None:
        job, candidate = copy.job, copy.candidate
        assert job.result is not None
        began = time.perf_counter()
        try:
            # The same outputs that live computed: a client may have asked for some of them only.
            outputs = candidate.run(job.inputs, tuple(job.result))
        except LadingError as error:
            counts = self._windows.counts(copy.release, candidate)
            counts.shadows.append("failed")
            counts.answers.append((time.perf_counter() - began, None, type(error).__name__))
            return
        took_s = time.perf_counter() - began
        tensors = [tensor for tensor in job.served.signature.outputs if tensor.name in job.result]
        parity = compare(tensors, job.result, outputs, job.served.manifest.tolerance)
        counts = self._windows.counts(copy.release, candidate)
        counts.shadows.append("agreed" if parity.holds else "differed")
        counts.answers.append((took_s, outputs.get(candidate.signature.primary.name), ""))
