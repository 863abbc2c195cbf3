"""Opens the gRPC port beside REST, and closes it; REST never waits for it.

grpcio takes longer to import than a small model to load, so a thread imports it. The port is reserved from
the beginning all the same: its number is known, and a port that is taken fails the start.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lading.access.tls import Tls
from lading.errors import one_line
from lading.server.exchange import Pipeline
from lading.server.process.sockets import tcp_host
from lading.settings import ServeSettings

if TYPE_CHECKING:
    from lading.server.grpc import Service
    from lading.server.grpc.server import GrpcServer

log = logging.getLogger("lading.server")


class GrpcListener:
    """The gRPC side of one process, at the port that `reserved` reserves; does nothing if that is None."""

    def __init__(
        self,
        pipeline: Pipeline,
        settings: ServeSettings,
        reserved: socket.socket | None,
        tls: Tls | None = None,
    ) -> None:
        self._pipeline = pipeline
        self.tls = tls
        self._settings = settings
        self._reserved = reserved
        self._server: GrpcServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port, whether it answers already or not; -1 for none."""
        return int(self._reserved.getsockname()[1]) if self._reserved is not None else -1

    @property
    def is_starting(self) -> bool:
        """Whether the port does not answer yet."""
        return self._thread is not None and self._thread.is_alive()

    def open(self) -> None:
        """Begin to answer; returns without waiting for it."""
        if self._reserved is not None:
            thread = threading.Thread(target=self._start, name="grpc start", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # There are no more threads.
                self._fail(error)
            else:
                self._thread = thread

    def close(self, grace_s: float) -> None:
        """Take no more calls and finish those in flight within `grace_s`; may be called twice."""
        if self._thread is not None:
            self._thread.join()  # A server that is just being started can be stopped only afterwards.
        if self._server is not None:
            self._server.stop(grace_s)
        if self._reserved is not None:
            self._reserved.close()

    def _start(self) -> None:
        try:
            _schedule_as_batch()
            from lading.server.grpc.server import GrpcServer

            server = GrpcServer(self._pipeline, self._settings, services())
            server.start(tcp_host(self._settings.host), self.port, self.tls)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: no descriptors, other libraries, …
            self._fail(error)
            return
        self._server = server
        log.info("listening on %s", self._address)

    def _fail(self, error: Exception) -> None:
        """Have the server say that it is not ready: who asks over gRPC gets no answer."""
        reason = f"{self._address} does not answer: {one_line(error)}"
        self._pipeline.plane.readiness.not_listening_reason = reason
        log.error("%s", reason)

    @property
    def _address(self) -> str:
        host = tcp_host(self._settings.host)
        scheme = "grpc" if self.tls is None else "grpcs"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


def services() -> Iterator[Service]:
    """List the gRPC services of every protocol that has some."""
    from lading.server.protocols.oip import grpc as oip
    from lading.server.protocols.tfs import grpc as tfs

    yield oip.service()
    yield from tfs.services()


def _schedule_as_batch() -> None:
    """Keep this thread, and every thread that it starts, from preempting others when it wakes up.

    A call passes through several threads of grpcio. Each wake-up would otherwise preempt the thread that
    holds the interpreter's lock, which the woken thread then waits for (sched(7), SCHED_BATCH).
    """
    if hasattr(os, "SCHED_BATCH"):  # Linux only.
        try:
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))
        except PermissionError as error:  # A sandbox may forbid it: gRPC is slower then, and nothing else.
            log.info("gRPC threads keep the usual scheduling: %s", error)
