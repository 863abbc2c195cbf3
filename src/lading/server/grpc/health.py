"""grpc.health.v1 over the data plane: every service is SERVING while every model is ready.

Decides nothing: the states are the manager's. Protocols have calls of their own for the readiness of one
model. Needs none of the threads that answer predictions: a check is answered where its message is read, and a
watcher that does not read holds nobody up.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from lading.server.grpc.calls import address_of
from lading.server.grpc.open_calls import OpenCalls
from lading.server.grpc.server_call import ServerCall, handlers
from lading.server.inference.dataplane import DataPlane

_MOST_WATCHERS = 1000
"""Beyond it, the client with the most watchers loses its oldest."""

_KINDS = health_pb2.HealthCheckResponse


class _Watcher:
    """A client that is sent each change: what it was sent last, and whether it is still reading that."""

    def __init__(self, call: ServerCall, service: str) -> None:
        self.call = call
        self.service = service
        self.host = (address_of(call.context.peer()) or ("", 0))[0]
        self.sent: int | None = None
        self.reading = False


class Health:
    """Answers Check from the states of this moment, and sends changes to watchers."""

    name = "grpc.health.v1.Health"

    def __init__(self, plane: DataPlane, services: Sequence[str], calls: OpenCalls) -> None:
        self._plane = plane
        self._services = frozenset(("", self.name, *services))
        self._calls = calls
        self._lock = threading.Lock()
        self._watchers: dict[ServerCall, _Watcher] = {}
        self._stopped = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service as grpcio takes it."""
        return handlers(
            self.name,
            {
                "Check": lambda call: self._calls.receive(call, self._check),
                "Watch": lambda call: self._calls.receive(call, self._watch),
            },
        )

    def refresh(self) -> None:
        """Send watchers what has changed; called some times a second, a check sees the present state."""
        with self._lock:
            watchers = list(self._watchers.values())
        if watchers:
            status = self._serving()
            for watcher in watchers:
                self._send(watcher, status)

    def stop(self) -> None:
        """Answer NOT_SERVING from now on, and let watchers go once they know."""
        self._stopped = True
        self.refresh()  # One that still reads gets it afterwards.

    def _serving(self) -> int:
        is_serving = not self._stopped and self._plane.readiness.is_ready()
        return int(_KINDS.SERVING if is_serving else _KINDS.NOT_SERVING)

    def _check(self, call: ServerCall, data: bytes | None) -> None:
        service = self._service_of(call, data)
        if service is None:
            return
        if service in self._services:
            call.finish(self._calls.reading, _KINDS(status=self._serving()).SerializeToString())
        else:
            self._refuse(call, grpc.StatusCode.NOT_FOUND, f"there is no service `{service[:200]}`")

    def _watch(self, call: ServerCall, data: bytes | None) -> None:
        service = self._service_of(call, data)
        if service is None:
            return
        watcher = _Watcher(call, service)
        with self._lock:
            self._watchers[call] = watcher
            surplus = self._surplus() if len(self._watchers) > _MOST_WATCHERS else None
        if not call.context.add_callback(lambda: self._forget(call)):
            self._forget(call)
        if surplus is not None:
            details = f"more than {_MOST_WATCHERS} watchers, and most of them from this address"
            self._calls.end(surplus, grpc.StatusCode.RESOURCE_EXHAUSTED, details, "too_many_watchers")
        self._send(watcher, self._serving())

    def _surplus(self) -> ServerCall:
        """Take the oldest watcher of the client that has the most."""
        hosts = Counter(watcher.host for watcher in self._watchers.values())
        host = max(hosts, key=hosts.__getitem__)
        call = next(call for call, watcher in self._watchers.items() if watcher.host == host)
        del self._watchers[call]
        return call

    def _forget(self, call: ServerCall) -> None:
        with self._lock:
            self._watchers.pop(call, None)

    def _send(self, watcher: _Watcher, status: int) -> None:
        if watcher.service not in self._services:
            status = int(_KINDS.SERVICE_UNKNOWN)
        with self._lock:
            if watcher.reading:
                return
            knows = watcher.sent == status
            watcher.reading, watcher.sent = not knows, status
        if not knows:
            data = _KINDS(status=status).SerializeToString()
            watcher.call.send(data, lambda _call: self._taken(watcher), self._calls.reading)
        elif self._stopped:
            self._refuse(watcher.call, grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    def _taken(self, watcher: _Watcher) -> None:
        watcher.reading = False
        self._send(watcher, self._serving())  # What has changed meanwhile.

    def _service_of(self, call: ServerCall, data: bytes | None) -> str | None:
        """Return the service that a message asks for, or None after a refusal."""
        if data is None:
            self._refuse(call, grpc.StatusCode.UNIMPLEMENTED, "expected one message")
            return None
        try:
            return str(health_pb2.HealthCheckRequest.FromString(data).service)
        except DecodeError as error:
            self._refuse(call, grpc.StatusCode.INVALID_ARGUMENT, f"expected a HealthCheckRequest: {error}")
            return None

    def _refuse(self, call: ServerCall, code: grpc.StatusCode, details: str) -> None:
        call.finish(self._calls.reading, code=code, details=details)
