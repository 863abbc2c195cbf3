"""Sees every answer of a model that has a release: counts it, remembers it for feedback, copies it in shadow.

On the path of every request, so it appends and leaves; what takes longer is done by others.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict, deque
from typing import NamedTuple

import numpy as np

from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion
from lading.server.observe.shadow import Shadows
from lading.server.observe.windows import Windows, rows_of
from lading.signature import Array
from lading.traffic import Feedback

_REMEMBERED = 50_000
_REMEMBERED_BYTES = 64 * 1024 * 1024
_SMALL_BYTES = 4096
"""A slice of a merged output up to this size is copied, which takes little, so that the whole can go."""


class Answered(NamedTuple):
    """An answer that was given: under which release, by which version, and what."""

    release: int
    served: ServedVersion
    primary: Array
    size_bytes: int


class Observer:
    """The live evidence of one process."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.windows = Windows(replica)
        self.shadows = Shadows(self.windows)
        self.unclaimed: deque[Feedback] = deque(maxlen=_REMEMBERED)
        self._answered: OrderedDict[tuple[str, bytes], Answered] = OrderedDict()
        self._answered_bytes = 0
        self._lock = threading.Lock()

    def saw(self, traffic: Traffic, job: Job, request_id: bytes, latency_s: float, error: str) -> None:
        """Take note of one answer; ``error`` is the name of what went wrong, or empty."""
        served = job.served
        result = job.result
        primary = result.get(served.signature.primary.name) if result is not None else None
        self.windows.tally(traffic.release, served).answered.append((latency_s, primary, error))
        if not error and primary is not None:
            self._remember((served.name, request_id), traffic.release, served, primary)

    def _remember(self, key: tuple[str, bytes], release: int, served: ServedVersion, primary: Array) -> None:
        """Keep an answer for feedback, and forget the oldest beyond a number and a size in all."""
        primary, size_bytes = _alone(primary)
        answered = self._answered
        with self._lock:
            if key in answered:
                self._forget(key)
            answered[key] = Answered(release, served, primary, size_bytes)
            self._answered_bytes += size_bytes
            while len(answered) > _REMEMBERED or self._answered_bytes > _REMEMBERED_BYTES:
                self._answered_bytes -= answered.popitem(last=False)[1].size_bytes

    def _forget(self, key: tuple[str, bytes]) -> Answered | None:
        answered = self._answered.pop(key, None)
        if answered is not None:
            self._answered_bytes -= answered.size_bytes
        return answered

    def refused(self, traffic: Traffic, served: ServedVersion, latency_s: float, error: str) -> None:
        """Take note of a request that did not fit what `served` takes."""
        self.windows.tally(traffic.release, served).answered.append((latency_s, None, error))

    def copy(self, traffic: Traffic, job: Job, candidate: ServedVersion) -> None:
        """Send a copy of an answered job to a candidate in shadow."""
        if job.result is not None:
            self.shadows.copy(traffic.release, job, candidate)

    def learn(self, name: str, request_id: bytes, truth: tuple[str, ...]) -> bool:
        """Take the truth about an answer: its labels by name, one a row; one truth counts once.

        Tell whether this process gave the answer; what it did not is kept for others (`unclaimed`).
        """
        if self.claim(name, request_id, truth):
            return True
        self.unclaimed.append(Feedback(name, request_id.decode("latin-1"), truth))
        return False

    def claim(self, name: str, request_id: bytes, truth: tuple[str, ...]) -> bool:
        """Count the truth about an answer of this process; return whether it was one."""
        with self._lock:
            answered = self._forget((name, request_id))
        if answered is None:
            return False
        given = self.windows.binner(answered.served).names(rows_of(answered.primary)).tolist()
        tally = self.windows.tally(answered.release, answered.served)
        tally.feedback.extend(one == other for one, other in zip(given, truth, strict=False))
        return True

    def stop(self) -> None:
        """End the threads."""
        self.shadows.stop()


def _alone(primary: Array) -> tuple[Array, int]:
    """Return an output, a small one apart from what it is a slice of, and the bytes that keeping it keeps."""
    size_bytes, whole = primary.nbytes, primary.base
    if whole is not None and size_bytes <= _SMALL_BYTES:
        primary = primary.copy()
    elif isinstance(whole, np.ndarray):
        size_bytes = whole.nbytes
    if primary.dtype.hasobject:
        size_bytes += sum(map(sys.getsizeof, primary.flat))
    return primary, size_bytes
