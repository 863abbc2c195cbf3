"""Open Inference Protocol v2 over gRPC: ``inference.GRPCInferenceService``."""

from __future__ import annotations

from typing import Any

from lading.server.grpc import Call, Method, Service, messages
from lading.server.grpc.health import all_ready

PROTOCOL = "oip-grpc"
NAME = "inference.GRPCInferenceService"


def service() -> Service:
    """Describe the service."""
    return Service(
        NAME, PROTOCOL, "oip", (Method("ServerLive", _server_live), Method("ServerReady", _server_ready))
    )


def _message(name: str) -> Any:
    return messages.message("oip", f"inference.{name}")


def _server_live(_message_in: Any, _call: Call) -> Any:
    return _message("ServerLiveResponse")(live=True)


def _server_ready(_message_in: Any, call: Call) -> Any:
    return _message("ServerReadyResponse")(ready=all_ready(call.plane))
