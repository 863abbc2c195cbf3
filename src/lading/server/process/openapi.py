"""The documentation: `/docs` and `/openapi.json`, written from the routes and the bundles.

The page (`docs.html`) shows what the OpenAPI document says, and loads nothing else from anywhere.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files
from itertools import chain, count
from typing import Any

import msgspec
import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.requests import Request as PageRequest

import lading
from lading.jobs import LONGEST_KEY, PRIORITIES, STATES
from lading.server.http.app import App
from lading.server.http.messages import Route
from lading.server.http.prefix import prefix_of
from lading.server.inference.version import ServedVersion, State
from lading.server.jobs import hook_rules
from lading.server.jobs.submissions import KEY, PRIORITY
from lading.server.protocols import jobs, mlflow, native
from lading.server.protocols.native.json_values import dumps, sample_rows
from lading.server.protocols.oip.metadata import tensor_metadata
from lading.signature import Signature, Tensor

# What most generators of clients read; `nullable` is gone from 3.1.
_OPENAPI = "3.0.3"
_ABOUT = (
    "The routes at the root answer for the default model; the same routes are under `/models/{name}`, and "
    "under `/models/{name}/versions/{version}`. Examples are golden samples of the model that is loaded."
)
_TEXT = "text/plain"
# Routes that do not answer with a JSON object: their media type, and the type of their answer.
_ANSWERS: dict[str, tuple[str, str]] = {
    "/metrics": (_TEXT, "string"),
    "/monitoring/prometheus/metrics": (_TEXT, "string"),
    "/ping": (_TEXT, "string"),
    "/version": (_TEXT, "string"),
    "/v2/repository/index": ("application/json", "array"),
}
# The keys that every refusal of a protocol has. A protocol that is not listed refuses as the native one does.
_REFUSAL_KEYS: dict[str, tuple[str, ...]] = {"oip": ("error",), "tfs": ("error",), "vertex": ("error",)}
_NATIVE_REFUSAL_KEYS: tuple[str, ...] = ("error", "code")  # And a hint, if the caller can act.
_MLFLOW_REFUSAL_KEYS: tuple[str, ...] = ("error_code", "message")
# The page may load nothing but this server's own answers, and no other site may show it in a frame.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def documentation(app: App) -> Callable[..., Awaitable[None]]:
    """Build the FastAPI application of the pages, which describe the models that are loaded then."""
    pages = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    page = files(__package__).joinpath("docs.html").read_text(encoding="utf-8")
    headers = {"content-security-policy": _POLICY.format(_script_digest(page))}

    @pages.get("/openapi.json")
    async def openapi(request: PageRequest) -> JSONResponse:
        return JSONResponse(openapi_document(app, prefix_of(dict(request.headers.raw), app.router.root_path)))

    async def docs(_request: PageRequest) -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    for path in ("/docs", "/docs/"):
        pages.get(path)(docs)
    return pages


def _script_digest(page: str) -> str:
    """Return the digest of the page's only script, as a content security policy names it."""
    script = page.partition("<script>")[2].partition("</script>")[0]
    return b64encode(sha256(script.encode()).digest()).decode()


def openapi_document(app: App, prefix: str = "") -> dict[str, Any]:
    """Return the OpenAPI document: every route, and for the default model its inputs and outputs.

    `prefix` is the path under which a proxy shows the server.
    """
    document = get_openapi(
        title="lading", version=lading.__version__, openapi_version=_OPENAPI, routes=[], description=_ABOUT
    )
    if prefix:
        document["servers"] = [{"url": prefix}]
    paths: dict[str, Any] = {}
    names_taken: set[str] = set()
    served = _example_version(app)
    for route in sorted(app.router.routes, key=lambda route: _order(route.pattern)):
        operation: dict[str, Any] = {
            "summary": route.summary,
            "operationId": _operation_id(route, names_taken),
            "tags": [route.protocol],
            "responses": _responses(served, route),
        }
        parameters = [_parameter(name, served) for name in re.findall(r"\{(\w+)\}", route.pattern)]
        parameters += _job_parameters(route, takes_jobs=app.submitting is not None)
        if parameters:
            operation["parameters"] = parameters
        if _submits(route, takes_jobs=app.submitting is not None):
            operation["responses"]["202"] = _accepted()
        if route.method == "POST":
            operation["requestBody"] = _request_body(route, served)
        paths.setdefault(route.pattern or "/", {})[route.method.lower()] = operation
    document["paths"] = paths
    return document


def _operation_id(route: Route, taken: set[str]) -> str:
    """Return the name by which generated clients call a route: the words of its path, made unique."""
    words = "_".join(re.findall(r"[A-Za-z0-9]+", route.pattern)) or "root"
    name = words if words[0].isalpha() else f"{route.method.lower()}_{words}"
    candidates = chain([name], (f"{name}_{number}" for number in count(2)))
    unique = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(unique)
    return unique


def _order(pattern: str) -> tuple[int, int]:
    """Return the sort key of a route: those at the root first, then those of a model, then of a version."""
    return pattern.count("{"), 0 if pattern.endswith("/predict") else 1


def _example_version(app: App) -> ServedVersion | None:
    """Return the version that the examples are from: one of the default model if it is ready, else any."""
    ready = [
        served for versions in app.plane.models.values() for served in versions if served.state is State.READY
    ]
    default = (served for served in ready if served.name == app.plane.default_model)
    return next(default, ready[0] if ready else None)


def _parameter(name: str, served: ServedVersion | None) -> dict[str, Any]:
    # A bundle that is served from its directory has version 0.
    schema = {"type": "integer", "minimum": 0} if name == "version" else {"type": "string"}
    parameter: dict[str, Any] = {"name": name, "in": "path", "required": True, "schema": schema}
    if served is not None:
        parameter["example"] = {"name": served.name, "version": served.version}.get(name, "live")
    return parameter


def _submits(route: Route, *, takes_jobs: bool) -> bool:
    """Return whether a route may store its request as a job."""
    if route.protocol == jobs.PROTOCOL:
        return route.method == "POST"
    return takes_jobs and route.fast and route.method == "POST"


def _job_parameters(route: Route, *, takes_jobs: bool) -> list[dict[str, Any]]:
    """Describe the headers of routes that submit jobs, and the query of their list."""
    if route.pattern == "/models/{name}/jobs" and route.method == "GET":
        return [
            {"name": "state", "in": "query", "schema": {"type": "string", "enum": [*STATES]}},
            {"name": "before", "in": "query", "schema": _whole(1, 2**31 - 1)},
            {"name": "limit", "in": "query", "schema": _whole(1, 1000)},
        ]
    if not _submits(route, takes_jobs=takes_jobs):
        return []
    schemas: dict[str, dict[str, Any]] = {
        PRIORITY: _whole(*PRIORITIES),
        KEY: {"type": "string", "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
        hook_rules.HEADER: {"type": "string", "format": "uri"},
    }
    if route.protocol != jobs.PROTOCOL:
        schemas = {"prefer": {"type": "string", "enum": ["respond-async"]}, **schemas}
    return [{"name": name, "in": "header", "schema": schema} for name, schema in schemas.items()]


def _whole(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


def _accepted() -> dict[str, Any]:
    """Describe the answer to a request that is stored as a job."""
    headers = {
        "location": {"schema": {"type": "string"}},
        "preference-applied": {"schema": {"type": "string"}},
    }
    content = {"application/json": {"schema": {"type": "object", "required": ["id", "state", "job"]}}}
    return {"description": "Accepted: the job is at `location`", "headers": headers, "content": content}


def _request_body(route: Route, served: ServedVersion | None) -> dict[str, Any]:
    """Describe the body of a route: if it predicts, the rows of the model with an example that works."""
    schema: dict[str, Any] = {"type": "object"}
    example: dict[str, Any] | None = None
    if served is not None and route.protocol in (native.PROTOCOL, jobs.PROTOCOL):
        schema, example = _native_body(served)
    elif served is not None and route.pattern.endswith(("/invocations", ":predict")):
        schema, example = _instances_body(served)
    elif served is not None and route.pattern.endswith("/infer"):
        example = _infer_example(served)
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"required": True, "content": {"application/json": content}}


def _native_body(served: ServedVersion) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [tensor.name for tensor in served.signature.outputs]
    schema = {
        "type": "object",
        "required": ["data"],
        "additionalProperties": False,
        "properties": {
            "data": _data_schema(served.signature),
            "outputs": {"type": "array", "minItems": 1, "items": {"enum": names}},
        },
    }
    return schema, {"data": _first_rows(served)}


def _instances_body(served: ServedVersion) -> tuple[dict[str, Any], dict[str, Any]]:
    # One of the forms that these protocols accept; their own documents list the others.
    properties = {"instances": _data_schema(served.signature)}
    return {"type": "object", "properties": properties}, {"instances": _first_rows(served)}


def _infer_example(served: ServedVersion) -> dict[str, Any]:
    def example(tensor: Tensor) -> dict[str, Any]:
        first = served.samples.inputs[tensor.name][:1]
        data = orjson.loads(dumps(first.reshape(-1)))
        return {**tensor_metadata(tensor), "shape": [*first.shape], "data": data}

    return {"inputs": [example(tensor) for tensor in served.signature.inputs]}


def _first_rows(served: ServedVersion) -> Any:
    first = {tensor.name: served.samples.inputs[tensor.name][:1] for tensor in served.signature.inputs}
    return orjson.loads(dumps(sample_rows(served, first)))


def _data_schema(signature: Signature) -> dict[str, Any]:
    if len(signature.inputs) == 1:
        return tensor_schema(signature.inputs[0])
    row = {
        "type": "object",
        "required": [tensor.name for tensor in signature.inputs],
        "properties": {tensor.name: _row_schema(tensor) for tensor in signature.inputs},
    }
    return {"type": "array", "minItems": 1, "items": row}


def _row_schema(tensor: Tensor) -> dict[str, Any]:
    shape = () if tensor.scalar_rows else tensor.shape[1:]
    return tensor_schema(msgspec.structs.replace(tensor, shape=shape))


def tensor_schema(tensor: Tensor) -> dict[str, Any]:
    """Return the JSON schema of a whole tensor."""
    if tensor.dtype == "bool":
        schema: dict[str, Any] = {"type": "boolean"}
    elif tensor.dtype == "string":
        schema = {"type": "string"}
    else:
        schema = {"type": "number" if tensor.dtype.startswith("float") else "integer", "format": tensor.dtype}
    if tensor.allows_nan:
        schema["nullable"] = True
    if tensor.nan_columns:
        names = [tensor.columns[at] if tensor.columns else str(at) for at in tensor.nan_columns]
        schema["description"] = f"`null` in columns {', '.join(names)} only"
    for size in reversed(tensor.shape):  # From the innermost dimension outwards.
        schema = {"type": "array", "items": schema}
        if isinstance(size, int):
            schema |= {"minItems": size, "maxItems": size}
        else:
            schema["minItems"] = 1
    return schema


def _responses(served: ServedVersion | None, route: Route) -> dict[str, Any]:
    kind, shape = _ANSWERS.get(route.pattern, ("application/json", "object"))
    answer: dict[str, Any] = {"schema": {"type": shape}}
    refusal = _refusal(route)
    responses: dict[str, Any] = {
        "200": {"description": "Done", "content": {kind: answer}},
        "4XX": {"description": "One sentence: where, expected, found", "content": refusal},
        "503": {"description": "Not ready: loading, draining or failed", "content": refusal},
    }
    if route.fast:
        responses["500"] = {"description": "The model failed on this input", "content": refusal}
        responses["504"] = {"description": "The deadline passed first", "content": refusal}
    if route.pattern == "/jobs/{id}/result":
        responses["202"] = _accepted() | {"description": "Not yet: the job waits or runs"}
        responses["500"] = {"description": "The job has failed", "content": refusal}
    if route.protocol == jobs.PROTOCOL and route.method == "POST":
        del responses["200"]
    if route.protocol in ("oip", "tfs", jobs.PROTOCOL):
        responses["501"] = {"description": "What this server does not do", "content": refusal}
    if route.pattern == "/invocations":
        for kind in ("text/csv", "application/jsonlines"):
            responses["200"]["content"][kind] = {"schema": {"type": "string"}}
        responses["200"]["content"]["application/x-npy"] = {"schema": {"type": "string", "format": "binary"}}
    if route.pattern == "/":
        responses["307"] = {"description": "To the documentation, for browsers"}
    if served is not None and route.pattern.endswith(("/predict", "/predict/test")):
        primary = served.signature.primary
        first = served.samples.outputs[primary.name][:1]
        value = first if "{" in route.pattern else first[0]
        answer["example"] = orjson.loads(dumps({"prediction": value}))
    return responses


def _refusal(route: Route) -> dict[str, Any]:
    """Describe how a route refuses: each protocol prescribes its own body."""
    in_mlflow = route.refuse is mlflow.refuse
    required = _MLFLOW_REFUSAL_KEYS if in_mlflow else _REFUSAL_KEYS.get(route.protocol, _NATIVE_REFUSAL_KEYS)
    keys = {name: {"type": "string"} for name in required}
    if required is _NATIVE_REFUSAL_KEYS:
        keys["hint"] = {"type": "string"}
    schema = {"type": "object", "required": [*required], "properties": keys}
    refusal: dict[str, Any] = {"application/json": {"schema": schema}}
    if in_mlflow:
        refusal[_TEXT] = {"schema": {"type": "string"}}
    return refusal
