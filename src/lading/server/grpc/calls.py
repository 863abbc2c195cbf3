"""One gRPC call as the life of a request sees it (`Exchange`): its message, its metadata, its patience.

Calls no method and writes no answer; `server` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from lading.access import Rule
from lading.errors import BodyInvalid, LadingError
from lading.ref import version_number
from lading.server.exchange import Exchange
from lading.server.inference.dataplane import DataPlane
from lading.server.observe.request_record import RequestLine

_LONGEST_DETAILS = 2000  # Bytes, of which each may take three on the wire.


class CallRoute(NamedTuple):
    """A method of a service by its full name, as the pipeline calls it, and how its refusals read."""

    method: str
    protocol: str
    handler: Callable[[CallExchange, DataPlane], Any]
    details: Callable[[LadingError], str]
    rule: Rule
    models: Callable[[Any], tuple[str, ...]]


class CallExchange(Exchange):
    """One call on its way."""

    def __init__(self, route: CallRoute, context: grpc.ServicerContext, data: bytes) -> None:
        self.route = route
        self.context = context
        self.data = data
        self.message: Any = None
        # Made at once: `cached_property` would hold a lock that all threads share until Python 3.12.
        self.headers = {
            key.encode(): value.encode("latin-1", "replace") if type(value) is str else value
            for key, value in context.invocation_metadata()
        }

    def address(self) -> str:
        """Return the address that the call came from, empty for a Unix socket."""
        address = address_of(self.context.peer())
        return address[0] if address is not None else ""

    def target(self) -> tuple[str | None, int | None, str | None] | None:
        """Return the model and version that the message names; it may name none, or be unreadable."""
        message = self.message
        spec = getattr(message, "model_spec", None)
        name = spec.name if spec is not None else getattr(message, "model_name", "")
        version = str(spec.version.value or "") if spec is not None else getattr(message, "model_version", "")
        return name, version_number(version), None

    def models(self) -> tuple[str, ...]:
        """Return the models that the message is about."""
        models: tuple[str, ...] = self.route.models(self.message)
        return models

    def request_line(self) -> RequestLine:
        """Return the full name of the method, such as ``/inference.GRPCInferenceService/ModelInfer``."""
        return RequestLine("gRPC", self.route.method, self.route.method)

    def patience(self) -> float | None:
        """Return how many seconds the client waits; if it gives up sooner, its job leaves the queue."""
        if not self.context.add_callback(self._client_gone):
            self._client_gone()
        remaining: float | None = self.context.time_remaining()
        return remaining

    def is_cancelled(self) -> bool:
        """Return whether the client cancelled its call, and not because its own deadline had passed."""
        if self.job is None or not self.job.cancelled or self.context.is_active():
            return False
        remaining = self.context.time_remaining()
        return remaining is None or remaining > 0

    def _client_gone(self) -> None:
        job = self.job  # Read once: the call may end at this moment in its own thread.
        if job is not None:
            job.cancel()


def address_of(peer: str) -> tuple[str, int] | None:
    """Return address and port of a peer as grpcio names it, or None for a Unix socket.

    ``ipv4:127.0.0.1:5000``, or ``ipv6:%5B::1%5D:5000`` with escaped brackets.
    """
    kind, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if kind in ("ipv4", "ipv6") and port.isdecimal() else None


def read_message(read: Callable[[bytes], Any], data: bytes) -> Any:
    """Read a request; raises `BodyInvalid`."""
    try:
        return read(data)
    except DecodeError as error:
        raise BodyInvalid("message", expected="this method's protobuf message", found=str(error)) from None


def shortened(details: str) -> str:
    """Cut a text that names at length what the client sent: past 8 KiB of headers it gets another error."""
    cut = details.encode()[:_LONGEST_DETAILS].decode(errors="ignore")
    return cut if len(cut) == len(details) else f"{cut}…"
