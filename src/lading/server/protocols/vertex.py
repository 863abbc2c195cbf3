"""Vertex AI's contract for a container: a health and a predict route whose paths the platform chooses.

The paths come from the settings; a route whose path is not set does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator

from lading.access import OPEN, PREDICTION
from lading.errors import BodyInvalid, InvalidSetting, LadingError
from lading.server.codecs import dataframe
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.protocols import error_response, invocations
from lading.server.protocols.tfs import json_bodies
from lading.settings import ServeSettings

PROTOCOL = "vertex"


def routes(settings: ServeSettings) -> Iterator[Route]:
    """List the routes at the paths that are set."""
    if path := _path("vertex_health_route", settings.vertex_health_route):
        summary = "200 when every model is ready"
        yield Route("GET", path, health, refuse, PROTOCOL, summary, rule=OPEN)
    if path := _path("vertex_predict_route", settings.vertex_predict_route):
        summary = "Predict instances"
        yield Route("POST", path, predict, refuse, PROTOCOL, summary, fast=True, rule=PREDICTION)


def _path(setting: str, path: str) -> str:
    # The router would never find it.
    if path and not path.startswith("/"):
        raise InvalidSetting(f"`{setting}`", expected="a path that begins with `/`", found=f"`{path}`")
    return path


def refuse(error: LadingError) -> Response:
    """Answer an error; the platform passes the body on to the caller unchanged."""
    return error_response(error, {"error": str(error)})


def health(_request: Request, plane: DataPlane) -> Response:
    """Answer 200 when every model is ready."""
    plane.readiness.require()
    return json_response({"health": "ok"})


def predict(request: Request, plane: DataPlane) -> Job:
    """Predict with the default model: ``instances`` in, one of ``predictions`` out for each."""
    served = plane.resolve()
    request.leave_loop()
    document = json_bodies.loads(request.body)
    for key in document:
        if key not in ("instances", "parameters", "deployedModelId"):  # The last is the platform's own.
            raise BodyInvalid("body", expected="`instances` and `parameters`", found=f"`{key}`")
    instances, parameters = document.get("instances"), document.get("parameters") or {}
    if not isinstance(instances, list):
        raise BodyInvalid("`$.instances`", expected="a list of instances", found="none")
    if not isinstance(parameters, dict):
        raise BodyInvalid("`$.parameters`", expected="an object", found="something else")
    try:
        if any(tensor.dtype == "string" for tensor in served.signature.inputs):
            # A string may come as `{"b64": …}`, because Vertex AI has the JSON of TensorFlow Serving.
            instances = json_bodies.decode_strings(instances)
        inputs = dataframe.from_rows(served.signature, instances, "$.instances")
    except RecursionError:
        raise BodyInvalid("`$.instances`", expected="rows", found="values nested too deeply") from None
    return invocations.job(served, inputs, invocations.output_names(served, parameters))
