"""What ``/api`` answers, as an OpenAPI document: made from the types of the views and what their tables take.

It reads no registry, so it is the same on every hub of one version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import lading
from lading.hub.views import alarms, history, inventory, jobs, models, monitoring, runs, vulnerabilities
from lading.hub.views.act import ACTS, ActPage
from lading.hub.views.begin import BeginPage
from lading.hub.views.home import Home
from lading.hub.views.log import LABELLED, OPERATORS, OUTCOMES, SIDES, LogIndex, LogPage
from lading.hub.views.release import ReleasePage
from lading.hub.views.tables import Page
from lading.hub.views.versions import VersionPage
from lading.jobs import STATES
from lading.release import Event

PATH = "/api/openapi.json"
MONITORING_TABLES = ("columns", "cells", "drift", "accuracy", "checks")
_OPENAPI = "3.1.0"
_ABOUT = (
    "Every page of the hub has the same data here, under the same path. `read_at` is the Unix time at which "
    "the registry said so; `stale` says why that is not newer, and is empty while the registry answers. "
    "A parameter that is empty is as good as none. Nothing here changes anything."
)
_JSON, _CSV = "application/json", "text/csv"
_ERRORS = {
    "400": "A parameter or a name that cannot be.",
    "404": "What the address names is not known.",
    "421": "The host of the request is not the hub's.",
    "500": "A defect of the hub; its log has it.",
    "503": "The registry does not answer, and this was not read before.",
}


class Error(msgspec.Struct, frozen=True):
    """What is wrong: the kind of error, a sentence, and what helps, if anything does."""

    error: str
    message: str
    hint: str | None


class WholeHistory(msgspec.Struct, frozen=True):
    """All events of a model, oldest first, as `lading history --json` prints them."""

    name: str
    events: list[Event]


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a query: its JSON schema, and what it does."""

    name: str
    schema: dict[str, Any]
    text: str


class Operation(msgspec.Struct, frozen=True):
    """One path: what it has, the type of that (None for CSV), and the parameters of its query.

    Data of a page is in an envelope that says when it was read; a `plain` answer has none.
    """

    summary: str
    kind: Any
    parameters: tuple[Parameter, ...] = ()
    plain: bool = False


def _choice(name: str, values: Sequence[str], text: str) -> Parameter:
    # Forms send a choice that nobody made as an empty one.
    return Parameter(name, {"type": "string", "enum": ["", *values]}, text)


def _sort(columns: Sequence[str]) -> Parameter:
    both = [each for column in columns for each in (column, f"-{column}")]
    return _choice("sort", both, "The column to sort by, with `-` in front from the highest down.")


def _number(name: str, text: str, most: int = 999_999_999) -> Parameter:
    return Parameter(name, {"type": "integer", "minimum": 1, "maximum": most}, text)


def _text(name: str, text: str) -> Parameter:
    return Parameter(name, {"type": "string"}, text)


_Q = _text("q", "Words, each of which is in some text of a row; the first 200 characters count.")
_PAGE = _number("page", "The page of the table.", 9_999_999)
_SINCE = Parameter(
    "since", {"type": "string", "enum": list(monitoring.PERIODS), "default": "1d"}, "The period, up to now."
)
_MODEL = _text("model", "The name of a model.")
_KIND = _choice("kind", history.KINDS_OF_EVENTS, "The kind of an event.")
_ACTOR = _text("actor", "Who did it.")
_BELOW = _number("below", "The position below which events are: `older` of the page before.")
_LOGGED = (
    _text("since", "From when on: a span before now such as `2h`, an ISO time, or `all`; `1d` without."),
    _text("until", "Up to when: a span before now or an ISO time."),
    _text("version", "The number of a version."),
    _choice("side", SIDES, "Whose answers: live, the candidate's, or copies in shadow."),
    _text("replica", "The id of a server."),
    _text("id", "The id of a request."),
    _choice("outcome", OUTCOMES, "How the request ended."),
    _text("status", "The status that was answered."),
    _text("column", "A column, such as `inputs.age` or `outputs.label`, to compare with `value`."),
    _choice("op", OPERATORS, "How to compare."),
    _text("value", "What to compare with."),
    _choice("label", LABELLED, "Whether the truth is known."),
)
_RUNS = (
    _MODEL,
    _choice("kind", runs.KINDS, "The kind of a run."),
    _choice("state", runs.STATES, "How a run stands; one that is lost has sent no report for 90 s."),
    _text("before", "The place behind which runs are: `older` of the page before."),
    _sort(runs.COLUMNS),
    _PAGE,
)
_BEFORE_RECORD = _text("before", "The place behind which records are: `older` of the page before.")
_SEEN = tuple(
    Parameter(name, {"type": "integer", "minimum": 0}, "As an earlier page displayed the release.")
    for name in ("release", "change", "event")
)

OPERATIONS: dict[str, Operation] = {
    "/api/home": Operation("What needs somebody, and how much runs", Home),
    "/api/models": Operation(
        "The table of models", Page[models.ModelRow], (_Q, _sort(models.COLUMNS), _PAGE)
    ),
    "/api/models/{name}": Operation(
        "One model: its versions, release and last events",
        models.ModelPage,
        (_number("below", "The number below which versions are: `older` of the page before."),),
    ),
    "/api/models/{name}/release": Operation("The current release of a model", ReleasePage),
    "/api/models/{name}/release.csv": Operation(
        "The evidence of the running step, every block of traffic of each check", None
    ),
    **{
        f"/api/models/{{name}}/release/{act}": Operation(
            f"What the page that asks for a reason to {act} says", ActPage, _SEEN
        )
        for act in ACTS
    },
    "/api/models/{name}/{version}": Operation("One version: signature, proof, places", VersionPage),
    "/api/models/{name}/{version}/release": Operation(
        "What the page that releases a version says", BeginPage, _SEEN
    ),
    "/api/models/{name}/monitoring": Operation(
        "The live traffic of a model beside its reference",
        monitoring.MonitoringPage,
        (_SINCE, _Q, _sort(monitoring.SORTS), _PAGE),
    ),
    "/api/models/{name}/monitoring.csv": Operation(
        "A table behind the charts of monitoring",
        None,
        (_SINCE, Parameter("table", {"type": "string", "enum": list(MONITORING_TABLES)}, "Which table.")),
    ),
    "/api/vulnerabilities": Operation(
        "What scans know against what runs",
        vulnerabilities.Vulnerabilities,
        (
            _Q,
            *(_choice(name, values, "Only these.") for name, values in vulnerabilities.FILTERS.items()),
            *(_sort(vulnerabilities.COLUMNS), _PAGE),
        ),
    ),
    "/api/inventory": Operation(
        "The table of servers",
        inventory.Inventory,
        (
            _Q,
            *(_choice(name, values, "Only these.") for name, values in inventory.FILTERS.items()),
            *(_sort(inventory.COLUMNS), _PAGE),
        ),
    ),
    "/api/inventory/{id}": Operation("One server and all that it reports", inventory.ReplicaPage),
    "/api/history": Operation(
        "Events of all models, newest first", history.History, (_MODEL, _KIND, _ACTOR, _BELOW)
    ),
    "/api/history/{name}": Operation(
        "Events of one model, and whether its history is whole", history.History, (_KIND, _ACTOR, _BELOW)
    ),
    "/api/history/{name}.json": Operation("All events of a model, oldest first", WholeHistory, plain=True),
    "/api/history/{name}.csv": Operation("The same for a spreadsheet", None),
    "/api/alarms": Operation(
        "Alarms, last raised first, and alerts to people",
        alarms.AlarmsPage,
        (
            _MODEL,
            _choice("kind", alarms.KINDS, "The kind of an alarm."),
            _choice("state", alarms.STATES, "Whether it is open."),
            _text("before", "The place behind which alarms are: `older` of the page before."),
        ),
    ),
    "/api/runs": Operation("Runs over data sets, last begun first", runs.RunsPage, _RUNS),
    "/api/runs.csv": Operation("The same page of them for a spreadsheet", None, _RUNS),
    "/api/runs/{id}": Operation("One run and its report", runs.RunPage),
    "/api/runs/{id}.csv": Operation(
        "A table of the report of a run",
        None,
        (Parameter("table", {"type": "string", "enum": list(runs.TABLES)}, "Which table."),),
    ),
    "/api/jobs": Operation(
        "Inference jobs, newest first",
        jobs.JobsPage,
        (
            _MODEL,
            _choice("state", STATES, "How a job stands."),
            _number("before", "The number below which jobs are: `older` of the page before."),
        ),
    ),
    "/api/jobs/{id}": Operation("One job, without its request and its answer", jobs.JobPage),
    "/api/log": Operation("The models that the prediction log has records of", LogIndex),
    "/api/log/{name}": Operation(
        "Logged predictions of a model, newest first", LogPage, (*_LOGGED, _BEFORE_RECORD)
    ),
    "/api/log/{name}/records.json": Operation(
        "The same, more of them, as a file", dict[str, Any], _LOGGED, plain=True
    ),
    "/api/log/{name}/records.csv": Operation("The same for a spreadsheet", None, _LOGGED),
    PATH: Operation("This document", dict, plain=True),
}
"""Every path of `/api`, in the order of the pages."""


async def openapi_json(_request: Request) -> Response:
    """Answer with the document."""
    return Response(msgspec.json.encode(openapi_document()), media_type=_JSON)


@cache
def openapi_document() -> dict[str, Any]:
    """Return the document."""
    kinds = [operation.kind for operation in OPERATIONS.values() if operation.kind is not None]
    schemas, components = msgspec.json.schema_components(
        [*kinds, Error], ref_template="#/components/schemas/{name}"
    )
    # By their names: a generic type such as a page of rows is another object at every use.
    by_kind = dict(zip(map(str, kinds), schemas, strict=False))
    return {
        "openapi": _OPENAPI,
        "info": {"title": "The hub of lading", "version": lading.__version__, "description": _ABOUT},
        # Paths begin at the root of the hub, and not at `/api`, where this document is.
        "servers": [{"url": "/"}],
        "paths": {
            path: {"get": _operation(path, each, by_kind.get(str(each.kind)))}
            for path, each in OPERATIONS.items()
        },
        "components": {
            "schemas": components,
            "responses": {status: _error(text) for status, text in _ERRORS.items()},
        },
    }


def _operation(path: str, operation: Operation, schema: dict[str, Any] | None) -> dict[str, Any]:
    content = {_CSV: {"schema": {"type": "string"}}}
    if schema is not None:
        content = {_JSON: {"schema": schema if operation.plain else _envelope(schema)}}
    refused = [] if path == PATH else [status for status in _ERRORS if status != "421"]
    return {
        "summary": operation.summary,
        "operationId": "_".join(re.findall(r"[a-z]+", path.removeprefix("/api"))),
        "parameters": [*_path_parameters(path), *map(_query_parameter, operation.parameters)],
        "responses": {
            "200": {"description": operation.summary, "content": content},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in [*refused, "421"]},
        },
    }


def _envelope(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {"read_at": {"type": "number"}, "stale": {"type": "string"}, "data": schema}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", path):
        # Every other part of a path is the name of something.
        schema = {"type": "integer", "minimum": 0} if name == "version" else {"type": "string"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "schema": parameter.schema,
        "description": parameter.text,
    }


def _error(text: str) -> dict[str, Any]:
    # A host that is not the hub's is refused before anything looks at what it asks for.
    if text == _ERRORS["421"]:
        return {"description": text, "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "description": text,
        "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
