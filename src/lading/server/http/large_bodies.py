"""Large bodies: read, and their answers written, in a process of their own, so that nobody else waits.

    dispatch ─▶ submit ─▶ thread ──▶ read ─────────▶ start ─▶ batcher
                            ▲         reader process            │
                            │        write ─▶ deliver           │
                            └───────── ran ◀────────────────────┘

A thread alone would not help: readers of JSON keep the interpreter to themselves until they are done. The
thread here waits for the process, which reads one body at a time, and not for models: while one runs, others
are read.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections import deque
from copy import copy
from functools import partial
from typing import Any, cast

from lading.errors import DeadlineExceeded, LadingError, ModelNotReady, QueueFull
from lading.server.exchange import Pipeline
from lading.server.http.content_encoding import unpacked
from lading.server.http.messages import Request, Response
from lading.server.http.reader_process import POLL_S, ReaderProcess, lost_with_process
from lading.server.inference.job import Deliver, Job
from lading.server.inference.request_memory import Reservation, array_bytes, csv_bytes, json_bytes
from lading.settings import ServeSettings

SLOW_BYTES = 256 * 1024
"""Larger bodies are not read on the event loop by readers in Python, which take up to 0.3 s a megabyte."""
QUICK_BYTES = 2 * 1024 * 1024
"""Larger bodies are not read on the event loop at all: the quickest readers take 20 to 40 ms a megabyte."""
PACKED_BYTES = 32 * 1024
"""Larger compressed bodies are not unpacked on the event loop; they become a thousand times as large."""
UNPACKED_BYTES = 1024 * 1024
"""Where a compressed body becomes larger, the event loop goes no further: so much takes it about 1 ms."""

_MOST_WAITING = 16
_KEPT_BELOW_BYTES = 4 * 1024 * 1024
"""A process that has read a larger body is ended: Python does not return all that it took."""
_IDLE_S = 30.0
"""How long a process without a body to read is kept."""

_JSON_LENGTH = b"inference-header-content-length"
_BINARY_TYPES = (b"application/octet-stream", b"application/x-npy")


def text_bytes(request: Request) -> int:
    """Return how many bytes of the body are text: binary tensors take no time to read."""
    length = request.headers.get(_JSON_LENGTH)
    if length is not None and length.isdigit():
        return min(int(length[:18]), len(request.body))
    if request.headers.get(b"content-type", b"").startswith(_BINARY_TYPES):
        return 0
    return len(request.body)


@dataclasses.dataclass(eq=False)
class _Body:
    """A request on its way through the process: waiting, being read, running, being written, answered.

    ``inner`` is the request as the pipeline handles it: the loop still has the other, and remembers its route
    for the next. ``reader`` is the number of the process that has read it.
    """

    number: int
    request: Request
    inner: Request
    deliver: Deliver
    deadline: float
    reader: int = 0
    job: Job | None = None
    is_answered: bool = False
    is_unpacked: bool = False
    is_second_try: bool = False


class LargeBodies:
    """Answers requests with large bodies: reads them one at a time, as each takes many times its size."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: ServeSettings,
        *,
        slow_bytes: int = SLOW_BYTES,
        quick_bytes: int = QUICK_BYTES,
        packed_bytes: int = PACKED_BYTES,
    ) -> None:
        self.slow_bytes, self.quick_bytes, self.packed_bytes = slow_bytes, quick_bytes, packed_bytes
        self._pipeline = pipeline
        self._plane = pipeline.plane
        self._max_body_bytes = settings.max_body_bytes
        self._reader = ReaderProcess(settings, self._plane.deadline_s, self._sweep)
        self._numbers = itertools.count(1)
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # Guarded by the condition; only the thread takes from them.
        self._bodies: dict[int, _Body] = {}  # all that have no answer yet
        self._unread: deque[_Body] = deque()
        self._ran: deque[_Body] = deque()
        self._lacks_room = False  # For the first that is not read; it is tried again in a moment.

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Have `request` answered, which comes back through `deliver`; raises `QueueFull`."""
        deadline = time.monotonic() + self._plane.deadline_s
        body = _Body(next(self._numbers), request, copy(request), deliver, deadline)
        assert request.route is not None
        handler = partial(self._reader.read, body.number)
        body.inner.reservation = None  # Both are one request: the other counts it.
        body.inner.route = dataclasses.replace(request.route, handler=handler)
        with self._changed:
            if len(self._bodies) >= _MOST_WAITING:
                where = f"requests with bodies over {self.slow_bytes // 1024} KiB"
                raise QueueFull(where, expected=f"at most {_MOST_WAITING} at once", found="more")
            self._bodies[body.number] = body
            self._unread.append(body)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="large bodies", daemon=True)
                self._thread.start()
            self._changed.notify()
        request.is_elsewhere = True

    def _work(self) -> None:
        while True:
            with self._changed:
                patience_s = POLL_S if self._bodies else _IDLE_S
                self._changed.wait_for(self._has_work, patience_s)
                self._lacks_room = False
                # First what has run: its answer frees a place.
                waiting = self._ran or self._unread
                body, is_idle = waiting.popleft() if waiting else None, not self._bodies
            self._sweep()
            if body is not None:
                self._go_on(body)
                del body  # Not kept until the next one comes.
            elif is_idle:
                self._reader.end()

    def _has_work(self) -> bool:
        return bool(self._ran or (self._unread and not self._lacks_room))

    def _sweep(self) -> None:
        """Answer for bodies that are past their deadline, and free the places of clients that have gone."""
        now = time.monotonic()
        with self._changed:
            bodies = list(self._bodies.values())
        for body in bodies:
            if body.request.is_gone:
                self._answer(body, None)
            elif now > body.deadline:
                expected = "to be read and answered in time"
                self._answer(body, DeadlineExceeded("the body", expected=expected, found="no time left"))

    def _go_on(self, body: _Body) -> None:
        """Read a body and start its job, or write the answer of one that has run."""
        try:
            if body.is_answered:
                pass  # Of a client that has gone, nothing is read and nothing is written.
            elif body.job is None:
                self._read(body)
            else:
                self._write(body, body.job)
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            self._answer(body, self._pipeline.as_refusal(body.request, error))
        if body.is_answered and body.reader:
            self._reader.forget(body.number)
            self._rest(len(body.inner.body))

    def _read(self, body: _Body) -> None:
        inner, memory = body.inner, self._plane.memory
        reservation = body.request.reservation = body.request.reservation or Reservation(memory)
        if b"content-encoding" in inner.headers and not body.is_unpacked:
            encoding = inner.headers[b"content-encoding"]
            inner.body = unpacked(inner.body, encoding, self._max_body_bytes, reservation.grow)
            body.request.body, body.is_unpacked = inner.body, True
        needed = self._reading_bytes(inner)
        if needed <= memory.most_bytes and not memory.has_room(needed):
            with self._changed:
                self._unread.appendleft(body)
                self._lacks_room = True
            return
        reading = memory.reserve(needed)
        try:
            outcome = self._pipeline.handle(inner)
        finally:
            body.reader = self._reader.starts
            del reading
        if body.is_answered:
            return
        if not isinstance(outcome, Job):
            self._answer(body, outcome)
            return
        body.job = outcome
        reservation.grow(array_bytes(outcome.inputs))
        try:
            if self._plane.start(outcome, partial(self._has_run, body)):
                self._write(body, outcome)
        except ModelNotReady as error:
            self._read_again(body, error)

    def _reading_bytes(self, inner: Request) -> int:
        """Estimate what the process needs to read a body."""
        if not inner.headers.get(b"content-type", b"").startswith(b"text/csv"):
            return json_bytes(inner.body)
        try:
            served = self._plane.find(*(inner.target() or ()))
            has_texts = any(tensor.dtype == "string" for tensor in served.signature.inputs)
        except LadingError:
            has_texts = False  # Nothing is read: no version answers.
        return csv_bytes(inner.body, has_texts=has_texts)

    def _has_run(self, body: _Body, jobs: list[Job]) -> None:
        """Take a job back from the thread that has run it."""
        self._plane.release(jobs[0])
        with self._changed:
            self._ran.append(body)
            self._changed.notify()

    def _write(self, body: _Body, job: Job) -> None:
        if isinstance(job.outcome, ModelNotReady):
            self._read_again(body, job.outcome)
        elif isinstance(job.outcome, LadingError):
            raise job.outcome
        elif body.reader != self._reader.starts:
            raise lost_with_process()
        else:
            assert job.outcome is not None  # Only a job that was cancelled has none, and it is answered.
            self._pipeline.reserve_answer(body.request, job, job.outcome)
            self._answer(body, self._reader.write(body.number, job.outcome))

    def _read_again(self, body: _Body, error: ModelNotReady) -> None:
        """Read a body once more, whose version was unloaded after it was resolved; once, else it fails."""
        if body.is_second_try:
            raise error
        body.is_second_try, body.job = True, None
        self._pipeline.forget(body.inner)
        with self._changed:
            self._unread.appendleft(body)

    def _answer(self, body: _Body, outcome: Response | LadingError | None) -> None:
        """Return a request to its client's place with a response, an error, or None if nobody waits."""
        if body.is_answered:
            return
        body.is_answered = True
        with self._changed:
            del self._bodies[body.number]
        if body.job is not None and body.job.outcome is None:
            body.job.cancel()
        request, inner = body.request, body.inner
        request.plane, request.refused_as = inner.plane, inner.refused_as
        request.warnings = inner.warnings
        request.job, inner.job = inner.job, None
        # The job that the model has run stays with the batcher, which may still have it after the deadline.
        job = Job(cast("Any", None), {}, None, lambda _outputs: outcome)
        job.outcome = cast("Any", outcome)
        job.exchange = request
        body.deliver([job])

    def _rest(self, body_bytes: int) -> None:
        """End the process if a body has made it large, and no other needs it."""
        if body_bytes >= _KEPT_BELOW_BYTES and not self._bodies:
            self._reader.end()
