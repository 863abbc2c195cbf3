"""Open Inference Protocol v2 over REST, as KServe, Triton and MLServer have it, under ``/v2``.

With Triton's extensions for binary tensors, classification, parameters, statistics, the configuration of a
model and the repository index.
Models are not loaded or unloaded through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from lading.access import FACTS, LOAD, OPEN, PREDICTION, READ_ALL, SERVER_FACTS, Rule
from lading.errors import BodyInvalid, LadingError
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.version import State
from lading.server.metrics import Metrics
from lading.server.protocols import DECODE_ERRORS, decode_error_text, error_response
from lading.server.protocols.oip import json_text, metadata
from lading.server.protocols.oip.infer import Write, infer
from lading.server.protocols.oip.routing import find, resolve

PROTOCOL = "oip"
_MODEL = "/v2/models/{name}"
_MODEL_PREFIXES = (_MODEL, f"{_MODEL}/versions/{{version}}")


def routes(metrics: Metrics, nan: str = "token") -> Iterator[Route]:
    """List the routes of this protocol; its statistics are read from `metrics`.

    `nan` is how NaN and infinities are written in JSON: as a "token" or as "null".
    """
    predict = predictor(json_text.dumps if nan == "token" else json_text.dumps_with_null)

    def route(rule: Rule, method: str, pattern: str, handler: Any, summary: str) -> Route:
        fast = rule is PREDICTION
        return Route(method, pattern, handler, refuse, PROTOCOL, summary, fast=fast, rule=rule)

    # Before the routes with a model's name, which would take `stats` for one.
    yield route(READ_ALL, "GET", "/v2/models/stats", statistics(metrics), "Statistics of every version")
    for prefix in _MODEL_PREFIXES:
        yield route(PREDICTION, "POST", f"{prefix}/infer", predict, "Predict")
        yield route(OPEN, "GET", f"{prefix}/ready", model_ready, "Whether a version is ready")
        yield route(FACTS, "GET", f"{prefix}/stats", statistics(metrics), "Statistics of a version")
        yield route(FACTS, "GET", f"{prefix}/config", model_config, "A version as Triton configures it")
        yield route(FACTS, "GET", prefix, model_metadata, "Inputs and outputs of a version")
    yield route(OPEN, "GET", "/v2/health/live", live, "Whether the process answers")
    yield route(OPEN, "GET", "/v2/health/ready", ready, "Whether every model is ready")
    for path in ("/v2", "/v2/"):  # Clients send both.
        yield route(SERVER_FACTS, "GET", path, server_metadata, "The server and its extensions")
    yield route(READ_ALL, "POST", "/v2/repository/index", repository_index, "The models of this server")
    for act in ("load", "unload"):
        path = f"/v2/repository/models/{{name}}/{act}"
        yield route(LOAD, "POST", path, refuse_loading, "Not supported: see releases")


def refuse(error: LadingError) -> Response:
    """Answer an error in the protocol's form: one sentence that includes the hint."""
    text = f"{error.message} (hint: {error.hint})" if error.hint else error.message
    return error_response(error, {"error": text})


def predictor(write: Write) -> Callable[[Request, DataPlane], Job]:
    """Return the handler that runs a model, whose answers `write` writes."""

    def predict(request: Request, plane: DataPlane) -> Job:
        served = resolve(plane, request.params["name"], request.params.get("version", ""))
        return infer(request, served, write)

    return predict


def live(_request: Request, _plane: DataPlane) -> Response:
    """Answer that the process is alive."""
    return json_response({"live": True})


def ready(_request: Request, plane: DataPlane) -> Response:
    """Answer whether every model is ready."""
    is_ready = plane.readiness.is_ready()
    return json_response({"ready": is_ready}, 200 if is_ready else 503)


def model_ready(request: Request, plane: DataPlane) -> Response:
    """Answer whether one version is ready."""
    served = find(plane, request.params["name"], request.params.get("version", ""))
    is_ready = served.state is State.READY
    return json_response({"name": served.name, "ready": is_ready}, 200 if is_ready else 503)


def server_metadata(_request: Request, _plane: DataPlane) -> Response:
    """Answer the name of the server and its extensions."""
    return json_response(metadata.server_metadata())


def model_metadata(request: Request, plane: DataPlane) -> Response:
    """Answer inputs and outputs of one version."""
    served = find(plane, request.params["name"], request.params.get("version", ""))
    return json_response(metadata.model_metadata(plane, served))


def model_config(request: Request, plane: DataPlane) -> Response:
    """Answer the configuration of one version, as Triton would have it."""
    served = find(plane, request.params["name"], request.params.get("version", ""))
    return json_response(metadata.model_config(plane, served))


def statistics(metrics: Metrics) -> Callable[[Request, DataPlane], Response]:
    """Return the handler that answers the statistics of versions."""

    def answer(request: Request, plane: DataPlane) -> Response:
        name, version = request.params.get("name", ""), request.params.get("version", "")
        return json_response({"model_stats": metadata.statistics(plane, metrics, name, version)})

    return answer


class _IndexBody(msgspec.Struct, forbid_unknown_fields=True):
    ready: bool = False


def repository_index(request: Request, plane: DataPlane) -> Response:
    """List the versions of this server, or only those that are ready."""
    try:
        # Clients send an empty body as well as `{}`.
        body = msgspec.json.decode(request.body or b"{}", type=_IndexBody)
    except DECODE_ERRORS as error:
        hint = 'send `{}` or `{"ready": true}`'
        raise BodyInvalid(f"body: {decode_error_text(error)}", hint=hint) from None
    return json_response(metadata.index(plane, ready=body.ready))


def refuse_loading(request: Request, _plane: DataPlane) -> Response:
    """Refuse to load or unload a model."""
    raise metadata.loading_refused(request.params["name"])
