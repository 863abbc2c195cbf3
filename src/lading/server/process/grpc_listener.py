"""Opens the gRPC port beside REST, and closes it; REST never waits for it.

grpcio takes longer to import than a model to load, so it is imported in a thread. The address is held from
the beginning all the same: a port that is taken is an error at once, and its number is known.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lading.server.exchange import Pipeline
from lading.settings import ServeSettings

if TYPE_CHECKING:
    from lading.server.grpc import Service
    from lading.server.grpc.server import GrpcServer

log = logging.getLogger("lading.server")


class GrpcListener:
    """The gRPC side of one process at the address that is `held`; does nothing where that is None."""

    def __init__(self, pipeline: Pipeline, settings: ServeSettings, held: socket.socket | None) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._held = held
        self._server: GrpcServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port, whether it answers already or not; -1 for none."""
        return int(self._held.getsockname()[1]) if self._held is not None else -1

    def open(self) -> None:
        """Begin to answer; returns at once."""
        if self._held is not None:
            self._thread = threading.Thread(target=self._start, name="grpc start", daemon=True)
            self._thread.start()

    def close(self, grace_s: float) -> None:
        """Take no more calls and finish those in hand within `grace_s`."""
        if self._thread is not None:
            self._thread.join()
        if self._server is not None:
            self._server.stop(grace_s)
        if self._held is not None:
            self._held.close()

    def _start(self) -> None:
        _be_patient()
        from lading.server.grpc.server import GrpcServer

        host = self._settings.host
        server = GrpcServer(self._pipeline, self._settings, services())
        try:
            server.start(host, self.port)
        except OSError:
            log.exception("gRPC cannot listen on %s:%d", host, self.port)
            return
        self._server = server
        log.info("listening on grpc://%s:%d", f"[{host}]" if ":" in host else host, self.port)


def _be_patient() -> None:
    """Let this thread, and every thread that it starts, not take the processor away when it is woken.

    A call passes through several threads of grpcio, and each hand-over would otherwise stop the thread that
    holds the interpreter's lock.
    """
    if hasattr(os, "SCHED_BATCH"):  # Linux only.
        try:
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))
        except PermissionError as error:  # A sandbox may forbid it; gRPC is slower then, and nothing else.
            log.info("gRPC threads keep the usual scheduling: %s", error)


def services() -> Iterator[Service]:
    """List the services of every protocol that has gRPC."""
    from lading.server.protocols.oip import grpc as oip
    from lading.server.protocols.tfs import grpc as tfs

    yield oip.service()
    yield from tfs.services()
