"""Feedback for the process that gave the answer, until a thread takes it to the catalog. Bounded."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lading.errors import BodyTooLarge, QueueFull
from lading.traffic import Feedback

MOST_BYTES = 2 * 1024 * 1024
"""Of feedback that one process keeps for the catalog: so much can come in a turn, or in an outage."""
LARGEST_BYTES = 64 * 1024
"""Of one answer's feedback that is passed on."""
_OVERHEAD_BYTES = 100


class Outbox:
    """What one process has received for others. ``has_room`` is whether the catalog took all of it last."""

    def __init__(self) -> None:
        self.has_room = True
        self._feedback: list[Feedback] = []
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, feedback: Feedback) -> None:
        """Keep feedback to be passed on; raises `BodyTooLarge` or, if too much waits, `QueueFull`."""
        size_bytes = _size_bytes(feedback)
        if size_bytes > LARGEST_BYTES:
            where = f"feedback for `{feedback.name}` on an answer of another process"
            raise BodyTooLarge(where, expected=f"at most {LARGEST_BYTES} bytes", found=f"{size_bytes}")
        with self._lock:
            if not self.has_room or self._bytes + size_bytes > MOST_BYTES:
                where = f"feedback for `{feedback.name}` on answers of other processes"
                hint = "send it again later, or only what is about answers of servers that run"
                raise QueueFull(where, expected="less that waits for them", found="no room", hint=hint)
            self._feedback.append(feedback)
            self._bytes += size_bytes

    def take(self) -> list[Feedback]:
        """Remove and return what waits."""
        with self._lock:
            feedback, self._feedback, self._bytes = self._feedback, [], 0
        return feedback

    def put_back(self, feedback: Sequence[Feedback]) -> None:
        """Keep what could not be passed on, before what has come since."""
        with self._lock:
            self._feedback[:0] = feedback
            self._bytes += sum(map(_size_bytes, feedback))


def _size_bytes(feedback: Feedback) -> int:
    texts = (feedback.request_id, *feedback.truth)
    return _OVERHEAD_BYTES + sum(len(text.encode("utf-8", "surrogatepass")) + 3 for text in texts)
