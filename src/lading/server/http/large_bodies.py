"""Large bodies: read, and their answers written, in processes of their own, so that nobody else waits.

    dispatch ─▶ submit ─▶ thread: unpack ─▶ handle ─▶ run ─▶ encode ─▶ deliver
                                              └──── reader process ────┘

A thread would not help: readers of JSON keep the interpreter to themselves until they are done. The thread
here only waits, for the process and for the model.
"""

from __future__ import annotations

import dataclasses
import queue
import socket
import subprocess
import sys
import threading
import time
from copy import copy
from typing import Any, cast

from lading.errors import DeadlineExceeded, LadingError, ModelNotReady, QueueFull, RunFailed
from lading.runtime.host.signals import how_it_ended
from lading.server.exchange import Pipeline
from lading.server.http import body_channel as wire
from lading.server.http.content_encoding import unpacked
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Deliver, Job
from lading.settings import ServeSettings
from lading.signature import Array

SLOW_BYTES = 256 * 1024
"""Larger bodies are not read on the event loop by readers in Python, which take up to 0.3 s a megabyte."""
QUICK_BYTES = 2 * 1024 * 1024
"""Larger bodies are not read on the event loop at all: the quickest readers take 20 to 40 ms a megabyte."""
PACKED_BYTES = 32 * 1024
"""Larger compressed bodies are not unpacked on the event loop; they become a thousand times as large."""

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


class LargeBodies:
    """Answers requests with large bodies, one at a time: each takes up to 40 times its size of memory."""

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
        self._settings = settings
        self._queue: queue.SimpleQueue[tuple[Request, Deliver, float]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._unfinished = 0

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Have a thread answer `request`, which comes back through `deliver`; raises `QueueFull`."""
        with self._lock:
            if self._unfinished >= _MOST_WAITING:
                where = f"requests with bodies over {self.slow_bytes // 1024} KiB"
                raise QueueFull(where, expected=f"at most {_MOST_WAITING} at once", found="more")
            self._unfinished += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="large bodies", daemon=True)
                self._thread.start()
        request.is_elsewhere = True
        self._queue.put((request, deliver, time.monotonic() + self._plane.deadline_s))

    def _work(self) -> None:
        reader = _Reader(self._settings)
        while True:
            try:
                request, deliver, deadline = self._queue.get(timeout=_IDLE_S)
            except queue.Empty:
                reader.end()
                continue
            # Of a client that has gone, nothing is read and nothing is run.
            job = _answered(None) if request.is_gone else self._answer(reader, request, deadline)
            job.exchange = request
            with self._lock:
                self._unfinished -= 1
            deliver([job])
            del request, job  # Not kept until the next one comes.

    def _answer(self, reader: _Reader, request: Request, deadline: float) -> Job:
        """Return the finished job of a request, or one that holds its refusal."""
        try:
            if b"content-encoding" in request.headers:
                encoding = request.headers[b"content-encoding"]
                request.body = unpacked(request.body, encoding, self._settings.max_body_bytes)
            reader.deadline = deadline
            assert request.route is not None
            # A request of its own: the loop still reads the other, and remembers its route for the next.
            inner = copy(request)
            inner.route = dataclasses.replace(request.route, handler=reader.handle)
            try:
                outcome = self._pipeline.handle(inner)
                response = self._run(reader, inner, outcome) if isinstance(outcome, Job) else outcome
            finally:
                request.plane, request.job, inner.job = inner.plane, inner.job, None
            return _answered(response)
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            job = _answered(None)
            job.outcome = self._pipeline.as_refusal(request, error)
            return job
        finally:
            reader.rest(len(request.body))

    def _run(self, reader: _Reader, request: Request, job: Job) -> Response:
        def patience() -> float:
            return max(0.0, reader.deadline - time.monotonic())

        try:
            outputs = self._plane.run(job, patience)
        except ModelNotReady:
            job = self._pipeline.handle_again(request)
            outputs = self._plane.run(job, patience)
        response: Response = job.encode(outputs)
        return response


def _answered(response: Response | None) -> Job:
    """Return a job that holds a response, or none for a client that has gone, and no version.

    The job that the model has run stays with the batcher, which may still have it after the deadline.
    """
    job = Job(cast("Any", None), {}, None, lambda _outputs: response)
    job.outcome = {} if response is not None else None
    return job


class _Reader:
    """The process that reads and writes for one thread. ``deadline`` is on the monotonic clock."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: wire.BodyChannel | None = None
        self.deadline = 0.0

    def handle(self, request: Request, plane: DataPlane) -> Response | Job:
        """Have the process handle `request`, in the place of the route's own handler."""
        message = wire.Read(request.method, request.path, _plain(request), request.query, request.request_id)
        served, was_running = None, self._process is not None
        try:
            reply, buffers = self._ask(message, [request.body])
        except RunFailed:
            if not was_running or self._process is not None:  # The process itself has replied so.
                raise
            # It may have ended since its last body: a new one is started.
            reply, buffers = self._ask(message, [request.body])
        while isinstance(reply, wire.Find):
            try:
                fact: wire.Message
                if reply.how == "has_tag":
                    fact = wire.IsTag(plane.has_tag(reply.name or "", reply.tag or ""))
                else:
                    find = plane.resolve if reply.how == "resolve" else plane.find
                    served = find(reply.name, reply.version, reply.tag)
                    fact = wire.Found(
                        served.name,
                        served.version,
                        served.digest,
                        served.tags,
                        served.model.signature,
                        dict(served.labels),
                    )
            except LadingError as error:
                fact = wire.Refused.of(error)
            except Exception:
                self.end()  # It waits for an answer that never comes.
                raise
            reply, buffers = self._ask(fact)
        if isinstance(reply, wire.Inputs):
            assert served is not None
            return Job(served, wire.arrays_of(reply.arrays, buffers), reply.outputs, self.encode, reply.rows)
        return _response(reply, buffers)

    def encode(self, outputs: dict[str, Array]) -> Response:
        """Have the process write the answer of the job that it has read last."""
        described, arrays = wire.describe(outputs)
        return _response(*self._ask(wire.Outputs(described), arrays))

    def rest(self, body_bytes: int) -> None:
        """End the process if a body has made it large."""
        if body_bytes >= _KEPT_BELOW_BYTES:
            self.end()

    def end(self, patience_s: float = 0) -> int | None:
        """End the process, which may do so by itself within `patience_s`; return its exit status."""
        process, self._process = self._process, None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if process is None:
            return None
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _ask(
        self, message: wire.Message, buffers: list[Any] | None = None
    ) -> tuple[wire.Message, list[bytearray]]:
        """Send a message and return the reply.

        Raises the error that the process replies, `DeadlineExceeded`, and `RunFailed` if the process ends.
        """
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise self._late()
        channel = self._channel or self._start()
        try:
            channel.connection.settimeout(left_s)
            channel.send(message, buffers or [])
            reply, received = channel.receive()
        except TimeoutError:
            self.end()
            raise self._late() from None
        except (EOFError, OSError):
            how = how_it_ended(self.end(patience_s=1) or 0)
            ended = f"that the process that reads large bodies ended ({how})"
            raise RunFailed("the body", expected="to be read", found=ended) from None
        if isinstance(reply, wire.Refused):
            raise reply.error()
        return reply, received

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded("the body", expected="to be read and answered in time", found="no time left")

    def _start(self) -> wire.BodyChannel:
        ours, theirs = socket.socketpair()
        with theirs:
            # In a session of its own: Ctrl-C at the terminal is for the server, which drains.
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with a module of ours
                # -P keeps the current directory off the path: a `numpy.py` there must not be imported.
                [sys.executable, "-P", "-m", "lading.server.process.body_reader", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._channel = wire.BodyChannel(ours)
        self._channel.send(wire.Start(dataclasses.asdict(self._settings)))
        return self._channel


def _plain(request: Request) -> dict[bytes, bytes]:
    return {name: value for name, value in request.headers.items() if name != b"content-encoding"}


def _response(reply: wire.Message, buffers: list[bytearray]) -> Response:
    assert isinstance(reply, wire.Answer)
    return Response(bytes(buffers[0]), reply.status, reply.content_type, reply.headers)
