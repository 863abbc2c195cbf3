"""MLflow's scoring protocol: the JSON of its requests, the form of its errors, and ``/version``.

The routes ``/invocations`` and ``/ping``, which SageMaker shares, are in `invocations`. MLflow's stores and
runs are out of scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lading
from lading.access import SERVER_FACTS
from lading.errors import BodyInvalid, LadingError, MediaTypeRefused
from lading.server.codecs import dataframe
from lading.server.http.messages import Request, Response, Route
from lading.server.inference.dataplane import DataPlane
from lading.server.protocols import error_response, status_of
from lading.server.protocols.tfs import json_bodies
from lading.signature import Array, Signature

PROTOCOL = "mlflow"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# Names from `ErrorCode` in mlflow/protos/databricks.proto.
_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    429: "RESOURCE_EXHAUSTED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_READERS = {
    "dataframe_split": dataframe.from_split,
    "dataframe_records": dataframe.from_records,
    "instances": dataframe.from_instances,
    "inputs": dataframe.from_columns,
    # Not MLflow's: a body of the native protocol is understood here, too.
    "data": dataframe.from_rows,
}


def routes() -> Iterator[Route]:
    """List the routes that only MLflow has."""
    summary = "The version of the server"
    yield Route("GET", "/version", version, refuse, PROTOCOL, summary, rule=SERVER_FACTS)


def version(_request: Request, _plane: DataPlane) -> Response:
    """Answer the version of this server."""
    return Response(lading.__version__.encode(), content_type=b"text/plain; charset=utf-8")


def refuse(error: LadingError) -> Response:
    """Answer an error in MLflow's form; an unknown content type in plain text, as MLflow does."""
    if isinstance(error, MediaTypeRefused):
        return Response(error.message.encode(), 415, b"text/plain; charset=utf-8")
    status = status_of(error)
    # MLflow has no code for 413 and the like; its clients treat them as bad requests.
    code = _CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
    return error_response(error, {"error_code": code, "message": str(error)}, status)


def read_json(signature: Signature, body: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read one of MLflow's four forms or the native ``data``; return the inputs and ``params``."""
    document = json_bodies.loads(body)
    # Keys other than the forms and `params` are ignored, as MLflow ignores them.
    forms = [form for form in _READERS if form in document]
    if len(forms) != 1:
        raise BodyInvalid(
            "The input must be a JSON dictionary with exactly one of the input fields "
            f"{{{', '.join(map(repr, FORMS))}}}. Received dictionary with input fields: {list(document)}"
        )
    (form,) = forms
    value = document[form]
    if any(tensor.dtype == "string" for tensor in signature.inputs):
        value = json_bodies.decode_strings(value)
    inputs = _READERS[form](signature, value, f"$.{form}")
    params = document.get("params")
    if params is not None and not isinstance(params, dict):
        raise BodyInvalid("`$.params`", expected="an object", found=type(params).__name__)
    return inputs, params or {}
