"""Opens the gRPC port beside REST, and closes it; REST never waits for it.

grpcio takes longer to import than a model to load, so it is imported in a thread. The address is held from
the beginning all the same: a port that is taken is an error at once, and its number is known.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lading.errors import InvalidSetting
from lading.server.dataplane import DataPlane
from lading.server.metrics import Metrics
from lading.settings import ServeSettings

if TYPE_CHECKING:
    from lading.server.grpc import Service
    from lading.server.grpc.serving import GrpcServer

log = logging.getLogger("lading.server")


class GrpcDoor:
    """The gRPC side of one process; does nothing where ``grpc_port`` is -1."""

    def __init__(self, plane: DataPlane, metrics: Metrics, settings: ServeSettings) -> None:
        self._plane = plane
        self._metrics = metrics
        self._settings = settings
        self._held = _hold(settings.host, settings.grpc_port) if settings.grpc_port >= 0 else None
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
        from lading.server.grpc.serving import GrpcServer

        host = self._settings.host
        server = GrpcServer(self._plane, self._metrics, self._settings, services())
        try:
            server.start(host, self.port)
        except OSError:
            log.exception("gRPC cannot listen on %s:%d", host, self.port)
            return
        self._server = server
        log.info("listening on grpc://%s:%d", f"[{host}]" if ":" in host else host, self.port)


def services() -> Iterator[Service]:
    """List the services of every protocol that has gRPC."""
    from lading.server.grpc import oip, tfs

    yield oip.service()
    yield from tfs.services()


def _hold(host: str, port: int) -> socket.socket:
    """Hold the address without listening, so that gRPC can listen beside it (SO_REUSEPORT).

    Raises `InvalidSetting` where another process has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if port:  # Sharing is for our own workers: another server's port is taken, even if it would share.
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        held.close()
        hint = "choose another `--grpc-port`; 0 takes a free one, -1 serves no gRPC"
        where = f"`{host}:{port}`"
        raise InvalidSetting(where, expected="a free address", found=error.strerror, hint=hint) from None
    return held
