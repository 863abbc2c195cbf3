"""Sees every answer of a model that has a release: counts it, remembers it for feedback, copies it in shadow.

On the path of every request, so it appends and leaves; what takes longer is done by others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

from lading.release import Feedback
from lading.server.job import Job
from lading.server.shadow import Shadows
from lading.server.states import Served
from lading.server.traffic import Traffic
from lading.server.windows import Windows
from lading.signature import Array

_REMEMBERED = 50_000


class Answered(NamedTuple):
    """An answer that was given: under which release, by which version, and what."""

    release: int
    served: Served
    primary: Array


class Witness:
    """The live evidence of one process."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.windows = Windows(replica)
        self.shadows = Shadows(self.windows)
        self.unclaimed: deque[Feedback] = deque(maxlen=_REMEMBERED)
        self._answered: OrderedDict[tuple[str, bytes], Answered] = OrderedDict()

    def saw(self, traffic: Traffic, job: Job, request_id: bytes, latency_s: float, error: str) -> None:
        """Take note of one answer; ``error`` is the name of what went wrong, or empty."""
        served = job.served
        result = job.result
        primary = result.get(served.signature.primary.name) if result is not None else None
        self.windows.tally(traffic.release, served).answered.append((latency_s, primary, error))
        if error or primary is None:
            return
        answered = self._answered
        answered[served.name, request_id] = Answered(traffic.release, served, primary)
        if len(answered) > _REMEMBERED:
            answered.popitem(last=False)

    def refused(self, traffic: Traffic, served: Served, latency_s: float, error: str) -> None:
        """Take note of a request that did not fit what `served` takes."""
        self.windows.tally(traffic.release, served).answered.append((latency_s, None, error))

    def copy(self, traffic: Traffic, job: Job, candidate: Served) -> None:
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
        """Count the truth about an answer of this process; tell whether it was one."""
        answered = self._answered.pop((name, request_id), None)
        if answered is None:
            return False
        rows = answered.primary.reshape(len(answered.primary) if answered.primary.ndim else 1, -1)
        given = self.windows.binner(answered.served).names(rows).tolist()
        tally = self.windows.tally(answered.release, answered.served)
        for one, other in zip(given, truth, strict=False):
            tally.feedback[one == other] += 1
        return True

    def stop(self) -> None:
        """End the threads."""
        self.shadows.stop()
