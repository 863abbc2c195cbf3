"""TensorFlow Serving's REST API: predict, classify, regress, status and metadata under ``/v1/models``.

Bodies are read and written by `json_bodies` and `examples`; answers and refusals are worded as that server
words them. Knows no gRPC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lading import errors
from lading.access import FACTS, OPEN, PREDICTION, READ_ALL, Rule
from lading.errors import BodyInvalid, InvalidReference, LadingError, RouteNotFound
from lading.server.codecs.rows import quick_reader
from lading.server.http.messages import Request, Response, Route
from lading.server.inference.dataplane import DataPlane, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols import DECODE_ERRORS, error_response
from lading.server.protocols.tfs import examples, json_bodies, routing
from lading.server.protocols.tfs.metadata import signature_def, version_status
from lading.signature import Array

PROTOCOL = "tfs"
_MODEL = "/v1/models/{name}"
_MODEL_PREFIXES = (_MODEL, f"{_MODEL}/versions/{{version}}", f"{_MODEL}/labels/{{label}}")

# A key of `LoadedModel.plans`.
_BY_ROW = ("tfs", "by row")
# The errors for which TensorFlow Serving has another HTTP status than the protocols here have.
_STATUS: dict[type[LadingError], int] = {
    errors.RouteNotFound: 400,
    errors.MethodRefused: 400,
}


def routes() -> Iterator[Route]:
    """List the routes of this protocol."""

    def route(rule: Rule, method: str, pattern: str, handler: Any, summary: str) -> Route:
        fast = method == "POST"
        made = Route(method, pattern, handler, refuse, PROTOCOL, summary, fast=fast, rule=rule)
        return replace(made, any_case=True)

    for prefix in _MODEL_PREFIXES:
        yield route(PREDICTION, "POST", f"{prefix}:predict", predict, "Predict, by row or by column")
        yield route(PREDICTION, "POST", f"{prefix}:classify", classify, "Classify examples")
        yield route(PREDICTION, "POST", f"{prefix}:regress", regress, "Regress examples")
        yield route(FACTS, "GET", prefix, status, "The state of a model's versions")
        yield route(FACTS, "GET", f"{prefix}/metadata", metadata, "The signature of a model")
    yield route(READ_ALL, "GET", "/v1/models", nameless, "Refused: the name is missing")


def beyond() -> Iterator[Route]:
    """List the routes for requests under ``/v1`` that no other route takes."""
    yield Route("*", "/v1/", malformed, refuse, PROTOCOL, rule=OPEN)  # It only refuses.


def refuse(error: LadingError) -> Response:
    """Answer an error in TensorFlow Serving's form."""
    return error_response(error, {"error": error.message}, _STATUS.get(type(error)))


def predict(request: Request, plane: DataPlane) -> Job:
    """Predict instances (by row) or inputs (by column); the answer has every output, in the same format."""
    served = _resolve(request, plane)
    job = _quick_job(served, request.body)
    if job is not None:
        return job
    request.leave_loop()
    try:
        # The values are walked recursively, and a client chooses how deep they are.
        body = json_bodies.read_predict(request.body)
        examples.check_signature(body.signature_name)
        read = json_bodies.row_inputs if body.by_row else json_bodies.column_inputs
        inputs = read(served.signature, body.value)
    except RecursionError:
        raise BodyInvalid("JSON Parse error: nested too deeply") from None
    write = json_bodies.row_body if body.by_row else json_bodies.column_body

    def encode(outputs: dict[str, Array]) -> Response:
        return Response(write(outputs))

    return Job(served, inputs, None, encode, rows_in(served, inputs))


def _quick_job(served: ServedVersion, body: bytes) -> Job | None:
    """Read plain instances in one typed pass; None for a body that needs the general reader or its errors."""
    model = served.model
    try:
        read = model.plans[_BY_ROW]
    except KeyError:
        beside = ("signature_name", str, "")
        read = model.plans[_BY_ROW] = quick_reader(model.signature, rows="instances", beside=beside)
    if read is None:
        return None
    try:
        inputs, rows, signature_name = read(body)
    except DECODE_ERRORS:
        return None
    examples.check_signature(signature_name)
    # The array does not show how its numbers were written, which TensorFlow Serving may mind.
    if json_bodies.may_be_lax(model.signature.inputs[0], inputs):
        return None
    return Job(served, inputs, None, _encode_rows, rows)


def _encode_rows(outputs: dict[str, Array]) -> Response:
    return Response(json_bodies.row_body(outputs))


def classify(request: Request, plane: DataPlane) -> Job:
    """Classify examples: for each, a list of label and score."""
    served = _resolve(request, plane)
    output = examples.classes_output(served).name
    return _examples_job(request, served, "classify", output, examples.classes)


def regress(request: Request, plane: DataPlane) -> Job:
    """Regress examples: one value for each."""
    served = _resolve(request, plane)
    output = examples.value_output(served).name
    return _examples_job(request, served, "regress", output, examples.values)


def _examples_job(
    request: Request,
    served: ServedVersion,
    method: str,
    output: str,
    results_of: Callable[[ServedVersion, Mapping[str, Array]], list[Any]],
) -> Job:
    """Return the job that computes one output for the examples of a classify or regress request."""
    request.leave_loop()
    inputs = examples.inputs_of(served.signature, examples.read_examples(request.body, method))

    def encode(outputs: dict[str, Array]) -> Response:
        return Response(json_bodies.results_body(results_of(served, outputs)))

    return Job(served, inputs, (output,), encode, rows_in(served, inputs))


def status(request: Request, plane: DataPlane) -> Response:
    """Answer the state of every version, newest first, or of the one that is addressed."""
    versions = routing.versions_of(plane, _address(request))
    return _pretty({"model_version_status": [_status_of(version) for version in versions]})


def _status_of(served: ServedVersion) -> dict[str, Any]:
    status = version_status(served)
    return {
        "version": str(served.version),
        "state": status.state,
        "status": {"error_code": status.code_name, "error_message": status.message},
    }


def metadata(request: Request, plane: DataPlane) -> Response:
    """Answer the signature as TensorFlow's SignatureDef."""
    served = _resolve(request, plane)
    # The map is a message inside a message of the same name: the doubling is the protocol's.
    definitions = {"signature_def": {examples.DEFAULT_SIGNATURE: signature_def(served)}}
    return _pretty(
        {
            "model_spec": {"name": served.name, "signature_name": "", "version": str(served.version)},
            "metadata": {"signature_def": definitions},
        }
    )


def nameless(_request: Request, _plane: DataPlane) -> Response:
    """Refuse a status request that names no model."""
    raise BodyInvalid("Missing model name in request.")


def malformed(request: Request, _plane: DataPlane) -> Response:
    """Refuse a request under ``/v1`` that is none of this protocol."""
    raise _malformed(request)


def _malformed(request: Request) -> RouteNotFound:
    return RouteNotFound(f"Malformed request: {request.method} {request.path}")


def _resolve(request: Request, plane: DataPlane) -> ServedVersion:
    return routing.resolve(plane, _address(request))


def _address(request: Request) -> routing.Address:
    params = request.params
    version = params.get("version")
    if version is None:
        return params["name"], None, params.get("label")
    if not (version.isascii() and version.isdigit()):
        raise _malformed(request)
    # That server reads an int64. The length comes first: Python refuses to read thousands of digits.
    if len(version) > 19 or int(version) >= 2**63:
        raise InvalidReference(f"Failed to convert version: {version} to numeric.")
    return params["name"], int(version), None


def _pretty(body: Any) -> Response:
    # That server indents status and metadata so, and ends them with a line break.
    return Response(json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n")
