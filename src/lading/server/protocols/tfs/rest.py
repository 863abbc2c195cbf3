"""TensorFlow Serving's REST API: predict, classify, regress, status and metadata under ``/v1/models``.

Labels are the tags of a version. Bodies are read and written by `tfs_json` and `tfs_examples`; answers
and refusals are worded as that server words them. Knows no gRPC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lading import errors
from lading.errors import (
    BodyInvalid,
    InvalidReference,
    LadingError,
    ModelNotFound,
    RouteNotFound,
    TagNotFound,
    VersionNotFound,
)
from lading.server.codecs.rows import quick_reader
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion, State
from lading.server.protocols import UNREADABLE, error_headers, status_of
from lading.server.protocols.tfs import examples as tfs_examples
from lading.server.protocols.tfs import json_bodies as tfs_json
from lading.server.protocols.tfs.error_text import TYPES
from lading.signature import Array, Tensor

PROTOCOL = "tfs"
_MODEL = "/v1/models/{name}"
_PLACES = (_MODEL, f"{_MODEL}/versions/{{version}}", f"{_MODEL}/labels/{{label}}")
_ALIASES = {"stable": "live", "canary": "candidate"}
"""The labels that TensorFlow Serving's guides use, and the tags that mean the same here."""

_QUICK = ("tfs", "rows")
_STATES = {
    State.LOADING: "LOADING",
    State.WARMING: "LOADING",
    State.READY: "AVAILABLE",
    State.DRAINING: "UNLOADING",
    State.UNLOADED: "END",
}
_STATUS: dict[type[LadingError], int] = {
    errors.RouteNotFound: 400,
    errors.MethodRefused: 400,
}
"""Where TensorFlow Serving has another HTTP status for the same fact than the other protocols here."""


def routes() -> Iterator[Route]:
    """List the routes of this protocol."""

    def route(method: str, pattern: str, handler: Any, summary: str) -> Route:
        fast = method == "POST"
        return Route(method, pattern, handler, refuse, PROTOCOL, summary, any_case=True, fast=fast)

    for place in _PLACES:
        yield route("POST", f"{place}:predict", predict, "Predict, by row or by column")
        yield route("POST", f"{place}:classify", classify, "Classify examples")
        yield route("POST", f"{place}:regress", regress, "Regress examples")
        yield route("GET", place, status, "The state of a model's versions")
        yield route("GET", f"{place}/metadata", metadata, "The signature of a model")
    yield route("GET", "/v1/models", nameless, "Refused: the name is missing")


def beyond() -> Iterator[Route]:
    """List what takes the requests under ``/v1`` that no route takes."""
    yield Route("*", "/v1/", malformed, refuse, PROTOCOL)


def refuse(error: LadingError) -> Response:
    """Answer an error in TensorFlow Serving's form."""
    status = _STATUS.get(type(error)) or status_of(error)
    response = json_response({"error": error.message}, status)
    response.headers = error_headers(error)
    return response


def predict(request: Request, plane: DataPlane) -> Job:
    """Predict instances (by row) or inputs (by column); the answer has every output, in the same format."""
    served = resolve(request, plane)
    inputs = _quick_inputs(served, request.body)
    if inputs is not None:
        return Job(served, inputs, None, _encode_rows, rows_in(served, inputs))
    try:
        body = tfs_json.read_predict(request.body)
        tfs_examples.check_signature(body.signature_name)
        reader = tfs_json.row_inputs if body.rows else tfs_json.column_inputs
        inputs = reader(served.signature, body.value)
    except RecursionError:
        raise BodyInvalid("JSON Parse error: nested too deeply") from None
    writer = tfs_json.row_body if body.rows else tfs_json.column_body

    def encode(outputs: dict[str, Array]) -> Response:
        return Response(writer(outputs))

    return Job(served, inputs, None, encode, rows_in(served, inputs))


def _quick_inputs(served: ServedVersion, body: bytes) -> dict[str, Array] | None:
    """Read plain instances in one typed pass; None for what needs the whole reader, or its words."""
    try:
        quick = served.model.plans[_QUICK]
    except KeyError:
        beside = ("signature_name", str, "")
        quick = served.model.plans[_QUICK] = quick_reader(served.signature, rows="instances", beside=beside)
    if quick is None:
        return None
    inputs: dict[str, Array]
    try:
        inputs, _, signature_name = quick(body)
    except UNREADABLE:
        return None
    tfs_examples.check_signature(signature_name)
    return None if tfs_json.may_be_lax(served.signature.inputs[0], inputs) else inputs


def _encode_rows(outputs: dict[str, Array]) -> Response:
    return Response(tfs_json.row_body(outputs))


def classify(request: Request, plane: DataPlane) -> Job:
    """Classify examples: for each, a list of label and score."""
    served = resolve(request, plane)
    wanted = tfs_examples.classes_output(served)
    inputs = tfs_examples.inputs_of(served.signature, tfs_examples.read_examples(request.body, "classify"))

    def encode(outputs: dict[str, Array]) -> Response:
        return Response(tfs_json.results_body(tfs_examples.classes(served, outputs)))

    return Job(served, inputs, (wanted.name,), encode, rows_in(served, inputs))


def regress(request: Request, plane: DataPlane) -> Job:
    """Regress examples: one value for each."""
    served = resolve(request, plane)
    wanted = tfs_examples.value_output(served)
    inputs = tfs_examples.inputs_of(served.signature, tfs_examples.read_examples(request.body, "regress"))

    def encode(outputs: dict[str, Array]) -> Response:
        return Response(tfs_json.results_body(tfs_examples.values(served, outputs)))

    return Job(served, inputs, (wanted.name,), encode, rows_in(served, inputs))


def status(request: Request, plane: DataPlane) -> Response:
    """Show the state of every version, newest first, or of the one that is named."""
    name, version, label = _address(request)
    shown = [_shown(one) for one in versions_of(plane, name, version, label)]
    return _pretty({"model_version_status": shown})


def metadata(request: Request, plane: DataPlane) -> Response:
    """Show the signature as TensorFlow's SignatureDef."""
    served = resolve(request, plane)
    return _pretty(
        {
            "model_spec": {"name": served.name, "signature_name": "", "version": str(served.version)},
            # The map is a message inside a message of the same name: the doubling is the protocol's.
            "metadata": {
                "signature_def": {"signature_def": {tfs_examples.DEFAULT_SIGNATURE: signature_def(served)}}
            },
        }
    )


def nameless(_request: Request, _plane: DataPlane) -> Response:
    """Refuse to tell the state of no model."""
    raise BodyInvalid("Missing model name in request.")


def malformed(request: Request, _plane: DataPlane) -> Response:
    """Refuse what is no request of this protocol."""
    raise RouteNotFound(f"Malformed request: {request.method} {request.path}")


def resolve(request: Request, plane: DataPlane) -> ServedVersion:
    """Return the ready version that the path means."""
    return resolve_spec(plane, *_address(request))


def resolve_spec(plane: DataPlane, name: str, version: int | None, label: str | None) -> ServedVersion:
    """Return the ready version meant by name, version and label, refusing in TensorFlow Serving's words."""
    try:
        return plane.resolve(name, version, _tag(plane, name, label))
    except VersionNotFound:
        raise VersionNotFound(f"Servable not found for request: Specific({name}, {version})") from None
    except ModelNotFound:
        which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise ModelNotFound(f"Servable not found for request: {which}", model=name) from None
    except TagNotFound:
        raise InvalidReference(f"Unrecognized servable version label: {label}") from None


def versions_of(plane: DataPlane, name: str, version: int | None, label: str | None) -> list[ServedVersion]:
    """Return the versions that a status request means, newest first, ready or not."""
    try:
        if version is not None or label is not None:
            return [plane.find(name, version, _tag(plane, name, label))]
        return sorted(plane.versions(name), key=lambda one: one.version, reverse=True)
    except VersionNotFound:
        raise VersionNotFound(f"Could not find version {version} of model {name}") from None
    except ModelNotFound:
        raise ModelNotFound(f"Could not find any versions of model {name}", model=name) from None
    except TagNotFound:
        raise InvalidReference(f"Unrecognized servable version label: {label}") from None


def _tag(plane: DataPlane, name: str, label: str | None) -> str | None:
    if label not in _ALIASES:
        return label
    known = any(label in served.tags for served in plane.models.get(name, ()))
    return label if known else _ALIASES[label]


def _address(request: Request) -> tuple[str, int | None, str | None]:
    params = request.params
    version = params.get("version")
    if version is None:
        return params["name"], None, params.get("label")
    if not (version.isascii() and version.isdigit()):
        malformed_path = f"Malformed request: {request.method} {request.path}"
        raise RouteNotFound(malformed_path)
    if len(version) > 19 or int(version) >= 2**63:
        raise InvalidReference(f"Failed to convert version: {version} to numeric.")
    return params["name"], int(version), None


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """The state of a version in TensorFlow Serving's words; ``code`` is a number of gRPC's."""

    state: str
    code: int = 0
    word: str = "OK"
    message: str = ""


def version_status(served: ServedVersion) -> VersionStatus:
    """Tell the state of a version; one that failed says why."""
    if served.state is State.FAILED:
        return VersionStatus("END", 9, "FAILED_PRECONDITION", served.reason)
    return VersionStatus(_STATES[served.state])


def _shown(served: ServedVersion) -> dict[str, Any]:
    status = version_status(served)
    return {
        "version": str(served.version),
        "state": status.state,
        "status": {"error_code": status.word, "error_message": status.message},
    }


def signature_def(served: ServedVersion) -> dict[str, Any]:
    """Write the signature as the JSON of TensorFlow's SignatureDef."""
    return {
        "inputs": {tensor.name: _tensor_info(tensor) for tensor in served.signature.inputs},
        "outputs": {tensor.name: _tensor_info(tensor) for tensor in served.signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor_info(tensor: Tensor) -> dict[str, Any]:
    sizes = (size if isinstance(size, int) else -1 for size in tensor.shape)
    return {
        "dtype": f"DT_{TYPES.get(tensor.dtype, tensor.dtype).upper()}",
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": False,
        },
        "name": f"{tensor.name}:0",
    }


def _pretty(body: Any) -> Response:
    return Response(json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n")
