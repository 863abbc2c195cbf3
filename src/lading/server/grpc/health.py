"""grpc.health.v1 over the data plane: every service is SERVING while every model is ready.

Decides nothing: the states are the manager's. Protocols have calls of their own for the readiness of one
model.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from lading.server.inference.dataplane import DataPlane

_POLL_S = 0.1
"""How much later than a change a watcher may learn of it; a check always sees the present state."""


class Health:
    """Answers Check from the states of this moment, and sends changes to watchers."""

    name = "grpc.health.v1.Health"

    def __init__(self, plane: DataPlane, services: Sequence[str]) -> None:
        self._plane = plane
        self._services = ("", self.name, *services)
        self._servicer = HealthServicer()
        self._last: bool | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="grpc health", daemon=True)
        self._refresh()

    def add_to(self, server: grpc.Server) -> None:
        """Register the service."""
        check = self._servicer.Check

        def check_now(request: Any, context: grpc.ServicerContext) -> Any:
            self._refresh()
            return check(request, context)

        self._servicer.Check = check_now
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def start(self) -> None:
        """Follow the states for watchers."""
        self._thread.start()

    def stop(self) -> None:
        """Answer NOT_SERVING from now on."""
        self._ended.set()
        self._servicer.enter_graceful_shutdown()

    def _follow(self) -> None:
        while not self._ended.wait(_POLL_S):
            self._refresh()

    def _refresh(self) -> None:
        ready = self._plane.readiness.is_ready()
        with self._lock:
            if ready is self._last:
                return
            self._last = ready
            kinds = health_pb2.HealthCheckResponse
            for name in self._services:
                self._servicer.set(name, kinds.SERVING if ready else kinds.NOT_SERVING)
