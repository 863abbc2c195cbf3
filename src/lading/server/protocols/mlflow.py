"""MLflow's scoring protocol: what its JSON means, how its errors look, ``/version``.

``/invocations`` and ``/ping`` are shared with SageMaker; `invocations` has them. Stores and runs of MLflow
are none of this file's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lading
from lading.errors import BodyInvalid, LadingError, MediaTypeRefused
from lading.server.codecs import dataframe as frames
from lading.server.http.messages import Request, Response, Route, json_response
from lading.server.inference.dataplane import DataPlane
from lading.server.protocols import error_headers, status_of
from lading.server.protocols.tfs import json_bodies as tfs_json
from lading.signature import Array, Signature

PROTOCOL = "mlflow"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_CODES = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "RESOURCE_CONFLICT",
    429: "RESOURCE_EXHAUSTED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_READERS = {
    "dataframe_split": frames.from_split,
    "dataframe_records": frames.from_records,
    "instances": frames.from_rows,
    "inputs": frames.from_columns,
    "data": frames.from_rows,
}


def routes() -> Iterator[Route]:
    """List the routes that only MLflow has."""
    yield Route("GET", "/version", version, refuse, PROTOCOL, "The version of the server")


def version(_request: Request, _plane: DataPlane) -> Response:
    """Tell the version of this server."""
    return Response(lading.__version__.encode(), content_type=b"text/plain; charset=utf-8")


def refuse(error: LadingError) -> Response:
    """Answer an error in MLflow's form; another content type is refused in plain text, as it does."""
    if isinstance(error, MediaTypeRefused):
        return Response(error.message.encode(), 415, b"text/plain; charset=utf-8")
    status = status_of(error)
    # 413 and the other refusals that MLflow has no word for are bad requests to its clients.
    code = _CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
    response = json_response({"error_code": code, "message": str(error)}, status)
    response.headers = error_headers(error)
    return response


def read_json(signature: Signature, body: bytes) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read the four forms, and the native ``data``; return the inputs and ``params``.

    Other keys are ignored, as MLflow ignores them.
    """
    document = tfs_json.loads(body)
    given = [form for form in _READERS if form in document]
    if len(given) != 1:
        raise BodyInvalid(
            "The input must be a JSON dictionary with exactly one of the input fields "
            f"{{{', '.join(map(repr, FORMS))}}}. Received dictionary with input fields: {list(document)}"
        )
    value = document[given[0]]
    if any(tensor.dtype == "string" for tensor in signature.inputs):
        value = tfs_json.decoded(value)
    inputs = _READERS[given[0]](signature, value, f"$.{given[0]}")
    params = document.get("params")
    if params is not None and not isinstance(params, dict):
        raise BodyInvalid("`$.params`", expected="an object", found=type(params).__name__)
    return inputs, params or {}
