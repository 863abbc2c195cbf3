"""Observes every answer of a model that has a release: counts it, remembers it for feedback, shadows it.

Sits on the path of every request, so it appends to a list and returns; other threads do what takes longer.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from lading.errors import BodyInvalid
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion
from lading.server.observe.outbox import Outbox
from lading.server.observe.outputs import rows_of
from lading.server.observe.shadow import Shadows
from lading.server.observe.windows import Windows
from lading.signature import Array
from lading.traffic import Feedback, Taken

_MAX_REMEMBERED = 50_000
_MAX_REMEMBERED_BYTES = 64 * 1024 * 1024
# A slice of a merged output up to this size is copied, which is cheap: the merged output can then be freed.
_MAX_COPIED_BYTES = 4096


class Answer(NamedTuple):
    """An answer kept for feedback: its release, its version, and the output that feedback is about."""

    release: int
    version: ServedVersion
    output: str
    array: Array
    size_bytes: int
    within: float
    group: int


class Observer:
    """The live evidence of one process.

    ``unmatched`` is feedback about answers that this process did not give; another replica may have. Answers
    are kept for feedback up to a number, and up to `max_remembered_bytes`.
    """

    def __init__(self, replica: str, *, max_remembered_bytes: int = _MAX_REMEMBERED_BYTES) -> None:
        self.replica = replica
        self._max_remembered_bytes = max_remembered_bytes
        self.windows = Windows(replica)
        self.shadows = Shadows(self.windows)
        self.unmatched = Outbox()
        self._answers: OrderedDict[tuple[str, bytes], Answer] = OrderedDict()
        self._answers_bytes = 0
        self._had_feedback: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._rated: dict[str, tuple[str, ...]] = {}  # by digest
        self._lock = threading.Lock()

    @property
    def remembered(self) -> tuple[int, int]:
        """How many answers are kept for feedback, and how many bytes they take."""
        with self._lock:
            return len(self._answers), self._answers_bytes

    def record(self, traffic: Traffic, job: Job, request_id: bytes, latency_s: float, error: str) -> None:
        """Count one answer; ``error`` is the name of the error, or empty."""
        version, outputs = job.served, job.result
        self.windows.counts(traffic.release, version, job.group).answers.append((latency_s, outputs, error))
        if error or outputs is None:
            return
        rated = self._rated.get(version.digest)
        if rated is None:
            rated = self._rated[version.digest] = self.windows.names(version).rated
        for name in rated:  # Of what the caller asked for, the output that says most.
            if name in outputs:
                self._remember((version.name, request_id), traffic, job, name, outputs[name])
                return

    def record_rejection(
        self, traffic: Traffic, version: ServedVersion, latency_s: float, error: str, group: int
    ) -> None:
        """Count a request of a caller in `group` that the candidate `version` refused and live answered."""
        self.windows.counts(traffic.release, version, group).answers.append((latency_s, None, error))

    def copy(self, traffic: Traffic, job: Job, candidate: ServedVersion) -> None:
        """Send a copy of an answered job to a candidate in shadow."""
        if job.result is not None:
            self.shadows.copy(traffic, job, candidate)

    def is_pair_due(self, name: str) -> bool:
        """Return whether it is time that both sides of a model's release answer one request."""
        return self.shadows.is_pair_due(name)

    def pair(self, traffic: Traffic, job: Job, live: ServedVersion, candidate: ServedVersion) -> None:
        """Let the other of the two answer a job that one of them has answered."""
        if job.result is not None:
            self.shadows.pair(traffic, job, live, candidate)

    def add_feedback(self, name: str, request_id: bytes, truth: tuple[str, ...]) -> Taken:
        """Add the truth about an answer, a label per row; only the first about an answer counts.

        Feedback about other answers waits in ``unmatched``. Raises `BodyInvalid` for more labels than the
        answer has rows, and what `Outbox.add` raises.
        """
        taken = self._match(name, request_id, truth)
        if taken is None:
            self.unmatched.add(Feedback(name, request_id.decode("latin-1"), truth))
            return "passed on"
        return taken

    def match_feedback(self, name: str, request_id: bytes, truth: tuple[str, ...]) -> bool:
        """Count the truth about an answer of this process; return False if that is not to be counted."""
        try:
            return self._match(name, request_id, truth) == "here"
        except BodyInvalid:
            return False  # More labels than rows: the process that passed it on could not know.

    def _match(self, name: str, request_id: bytes, truth: tuple[str, ...]) -> Taken | None:
        """Count the truth about an answer; None if this process remembers no such answer."""
        key = (name, request_id)
        with self._lock:
            answer = self._answers.get(key)
            if answer is None:
                return "before" if key in self._had_feedback else None
            rows = len(rows_of(answer.array))
            if len(truth) > rows:
                raise BodyInvalid(
                    "`$.label`",
                    expected=f"at most {rows}, as many as the answer has rows",
                    found=f"{len(truth)}",
                )
            self._forget(key)
            self._had_feedback[key] = None
            if len(self._had_feedback) > _MAX_REMEMBERED:
                self._had_feedback.popitem(last=False)
        names = self.windows.names(answer.version)
        rated = names.truths(answer.output, answer.array, truth, answer.within)
        self.windows.counts(answer.release, answer.version, answer.group).feedback.extend(rated)
        return "here"

    def close(self) -> None:
        """End the thread of shadow copies."""
        self.shadows.stop()

    def _remember(
        self, key: tuple[str, bytes], traffic: Traffic, job: Job, output: str, array: Array
    ) -> None:
        """Keep an answer for feedback; beyond a number and a total size the oldest are forgotten."""
        array, size_bytes = _detached(array)
        answers = self._answers
        with self._lock:
            if key in answers:  # A client may use a request id twice.
                self._forget(key)
            elif key in self._had_feedback:
                return  # Feedback on that id was counted: it counts once.
            within = traffic.relative_difference
            answers[key] = Answer(traffic.release, job.served, output, array, size_bytes, within, job.group)
            self._answers_bytes += size_bytes
            while len(answers) > _MAX_REMEMBERED or self._answers_bytes > self._max_remembered_bytes:
                self._answers_bytes -= answers.popitem(last=False)[1].size_bytes

    def _forget(self, key: tuple[str, bytes]) -> Answer | None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._answers_bytes -= answer.size_bytes
        return answer


def _detached(array: Array) -> tuple[Array, int]:
    """Return an output, copied if it is a small slice, and the bytes of memory that keeping it holds."""
    size_bytes, merged = array.nbytes, array.base
    if merged is not None and size_bytes <= _MAX_COPIED_BYTES:
        array = array.copy()
    elif isinstance(merged, np.ndarray):
        size_bytes = merged.nbytes  # A view keeps all of the array that it is a slice of.
    if array.dtype.hasobject:
        # `nbytes` counts only the pointers to Python's strings.
        size_bytes += sum(map(sys.getsizeof, array.flat))
    return array, size_bytes
