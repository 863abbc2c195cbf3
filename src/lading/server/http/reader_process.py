"""The process that reads large bodies and writes their answers, as the server sees it.

It keeps, by number, what it has read until the answer is written; meanwhile it reads others. If it ends, all
that it kept is lost, and the next body starts it again.
"""

from __future__ import annotations

import dataclasses
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from lading.errors import DeadlineExceeded, LadingError, RunFailed
from lading.runtime.host.priority import step_behind
from lading.runtime.host.signals import how_it_ended
from lading.server.http import body_channel as wire
from lading.server.http.messages import Request, Response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job, Outputs
from lading.settings import ServeSettings

POLL_S = 0.1
"""How often ``on_wait`` is called while a reply does not come."""
_NICENESS = 5
_START_S = 5.0
"""A process may take as long for its first body, however soon bodies are late."""


class ReaderProcess:
    """Used by one thread, for one body at a time. ``on_wait`` is called while the process works.

    The process is ended if it works on one body for longer than `limit_s`. ``starts`` counts how often it was
    started: what an earlier one kept is gone.
    """

    def __init__(self, settings: ServeSettings, limit_s: float, on_wait: Callable[[], None]) -> None:
        self.starts = 0
        self._settings = settings
        self._limit_s = max(limit_s, _START_S)
        self._on_wait = on_wait
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: wire.BodyChannel | None = None
        self._forgotten: list[int] = []

    def read(self, number: int, request: Request, plane: DataPlane) -> Response | Job:
        """Have the process handle `request`; its job is kept there as `number`, until it is written.

        Raises the error that the process replies, `DeadlineExceeded`, and `RunFailed` if it ends.
        """
        forgotten, self._forgotten = self._forgotten, []
        headers = {name: value for name, value in request.headers.items() if name != b"content-encoding"}
        message = wire.Read(
            number, forgotten, request.method, request.path, headers, request.query, request.request_id
        )
        served, was_running = None, self._process is not None
        try:
            reply, buffers = self._ask(message, [request.body])
        except RunFailed:
            if not was_running or self._process is not None:  # The process itself has replied so.
                raise
            # It may have ended since its last body: a new one is started.
            reply, buffers = self._ask(message, [request.body])
        while isinstance(reply, wire.Find):
            fact: wire.Message
            try:
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
            return Job(served, wire.arrays_of(reply.arrays, buffers), reply.outputs, _unused, reply.rows)
        return _response(reply, buffers)

    def write(self, number: int, outputs: Outputs) -> Response:
        """Have the process write the answer of the job that it keeps as `number`; raises as `read` does."""
        described, arrays = wire.describe(outputs)
        return _response(*self._ask(wire.Outputs(number, described), arrays))

    def forget(self, number: int) -> None:
        """Have the process drop a job before it reads the next body."""
        self._forgotten.append(number)

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
        channel = self._channel or self._start()
        until = time.monotonic() + self._limit_s
        try:
            channel.connection.settimeout(self._limit_s)
            channel.send(message, buffers or [])
            while not channel.has_message(POLL_S):
                if time.monotonic() > until:
                    raise TimeoutError
                self._on_wait()
            reply, received = channel.receive()
        except TimeoutError:
            self.end()
            self._on_wait()  # This one is late by now, and answered so.
            expected = f"to be read within {self._limit_s:g} s"
            raise DeadlineExceeded("the body", expected=expected, found="more") from None
        except (EOFError, OSError):
            raise _lost(f"ended ({how_it_ended(self.end(patience_s=1) or 0)})") from None
        if isinstance(reply, wire.Refused):
            raise reply.error()
        return reply, received

    def _start(self) -> wire.BodyChannel:
        self.starts += 1
        self._forgotten.clear()
        ours, theirs = socket.socketpair()
        with theirs:
            # In a group of its own: Ctrl-C at the terminal is for the server, which drains. A session of its
            # own would, on Linux, also have as much of the processors as the whole server (sched(7)).
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with a module of ours
                # -P keeps the current directory off the path: a `numpy.py` there must not be imported.
                [sys.executable, "-P", "-m", "lading.server.process.body_reader", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        # So that small requests come first where there is work for more processors than there are.
        step_behind(self._process.pid, _NICENESS)
        self._channel = wire.BodyChannel(ours)
        self._channel.send(wire.Start(dataclasses.asdict(self._settings)))
        return self._channel


def lost_with_process() -> RunFailed:
    """Return the error of a body that the process had read, and not written, when it ended."""
    return _lost("ended")


def _lost(how: str) -> RunFailed:
    state = f"that the process that reads large bodies {how}"
    return RunFailed("the body", expected="to be read", found=state)


def _response(reply: wire.Message, buffers: list[bytearray]) -> Response:
    assert isinstance(reply, wire.Answer)
    return Response(bytes(buffers[0]), reply.status, reply.content_type, reply.headers)


def _unused(_outputs: Outputs) -> Any:
    raise AssertionError("the process writes this answer")
