"""Open Inference Protocol v2 over REST, as KServe, Triton and MLServer speak it, under ``/v2``.

With the extensions for binary tensors, classification, parameters, statistics and the repository's index.
Models are not loaded or unloaded through it. The same over gRPC is ``server/grpc/oip.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from lading.errors import BodyInvalid, LadingError
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.version import State
from lading.server.metrics import Metrics
from lading.server.protocols import UNREADABLE, error_headers, status_of, unread
from lading.server.protocols.oip import metadata as facts
from lading.server.protocols.oip.infer import infer

PROTOCOL = "oip"
_MODEL = "/v2/models/{name}"
_PLACES = (_MODEL, f"{_MODEL}/versions/{{version}}")


def routes(metrics: Metrics) -> Iterator[Route]:
    """List the routes of this protocol; `metrics` are what its statistics are read from."""

    def route(method: str, pattern: str, handler: Any, summary: str, *, fast: bool = False) -> Route:
        return Route(method, pattern, handler, refuse, PROTOCOL, summary, fast=fast)

    yield route("GET", "/v2/models/stats", statistics(metrics), "What every version did")
    for place in _PLACES:
        yield route("POST", f"{place}/infer", predict, "Predict", fast=True)
        yield route("GET", f"{place}/ready", model_ready, "Whether a version is ready")
        yield route("GET", f"{place}/stats", statistics(metrics), "What a version did")
        yield route("GET", place, model_metadata, "What goes in and what comes out")
    yield route("GET", "/v2/health/live", live, "Whether the process answers")
    yield route("GET", "/v2/health/ready", ready, "Whether every model is ready")
    for path in ("/v2", "/v2/"):
        yield route("GET", path, server_metadata, "The server and its extensions")
    yield route("POST", "/v2/repository/index", repository_index, "The models here")
    for act in ("load", "unload"):
        yield route("POST", f"/v2/repository/models/{{name}}/{act}", refuse_loading, "Refused: see releases")


def refuse(error: LadingError) -> Response:
    """Answer an error as the protocol has it: one sentence, the hint with it."""
    text = f"{error.message} (hint: {error.hint})" if error.hint else error.message
    response = json_response({"error": text}, status_of(error))
    response.headers = error_headers(error)
    return response


def predict(request: Request, plane: DataPlane) -> Job:
    """Run a model."""
    return infer(request, facts.resolve(plane, request.params["name"], request.params.get("version", "")))


def live(_request: Request, _plane: DataPlane) -> Response:
    """Say that the process answers."""
    return json_response({"live": True})


def ready(_request: Request, plane: DataPlane) -> Response:
    """Say whether every model is ready."""
    found = plane.readiness.is_ready()
    return json_response({"ready": found}, 200 if found else 503)


def model_ready(request: Request, plane: DataPlane) -> Response:
    """Say whether one version is ready."""
    served = facts.find(plane, request.params["name"], request.params.get("version", ""))
    found = served.state is State.READY
    return json_response({"name": served.name, "ready": found}, 200 if found else 503)


def server_metadata(_request: Request, _plane: DataPlane) -> Response:
    """Name the server and its extensions."""
    return json_response(facts.server_metadata())


def model_metadata(request: Request, plane: DataPlane) -> Response:
    """Describe one version."""
    served = facts.find(plane, request.params["name"], request.params.get("version", ""))
    return json_response(facts.model_metadata(plane, served))


def statistics(metrics: Metrics) -> Callable[[Request, DataPlane], Response]:
    """Make the handler that tells what versions did."""

    def answer(request: Request, plane: DataPlane) -> Response:
        name, version = request.params.get("name", ""), request.params.get("version", "")
        return json_response({"model_stats": facts.statistics(plane, metrics, name, version)})

    return answer


class _IndexBody(msgspec.Struct):
    ready: bool = False


def repository_index(request: Request, plane: DataPlane) -> Response:
    """List the versions here, or those that are ready."""
    try:
        body = msgspec.json.decode(request.body or b"{}", type=_IndexBody)
    except UNREADABLE as error:
        raise BodyInvalid(f"body: {unread(error)}", hint='send `{}` or `{"ready": true}`') from None
    return json_response(facts.index(plane, ready=body.ready))


def refuse_loading(request: Request, _plane: DataPlane) -> Response:
    """Refuse to load or unload."""
    raise facts.no_loading(request.params["name"])
