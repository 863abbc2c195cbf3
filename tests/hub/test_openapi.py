"""The document of `/api`: no route is missing, and every answer is as it says."""

from __future__ import annotations

import re
import time
from typing import Any

import jsonschema
import msgspec
import pytest

from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.hub.openapi import MONITORING_TABLES, OPERATIONS, PATH, openapi_document
from lading.hub.views.runs import TABLES
from support import hub_jobs
from support.hub_pages import HubPages
from support.hub_rows import alarm, loaded, replica
from support.hub_runs import FINISHED, run
from support.predictions import LogMaker, chunk


@pytest.fixture
def pages(registry, push, tmp_path) -> HubPages:
    """Return a hub over a registry that has something on every page."""
    push()
    push()
    registry.release("iris:1", actor="ann", reason="first")
    registry.release("iris:2", actor="ben")
    registry.fleet.beat(replica(1, loaded(), loaded("foreign", 7), id="a/b"))
    registry.monitoring.save("monitor", {}, [], [alarm()])
    registry.runs.save(run())
    hub_jobs.store(registry)
    log = LogMaker(tmp_path / "registry" / "log")
    log.add(chunk(["a"], ended_at=[time.time() - 60]))
    log.close()
    return HubPages(registry)


def filled(path: str) -> str:
    ids = {"/runs/": FINISHED, "/jobs/": hub_jobs.DONE}
    values = {
        "name": "iris",
        "version": "2",
        "id": next((ids[part] for part in ids if part in path), "a%2Fb"),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)


def validator(schema: Any) -> jsonschema.Draft202012Validator:
    """Return what checks values by a schema of the document."""
    whole = {**schema, "components": openapi_document()["components"]}
    return jsonschema.Draft202012Validator(whole)


def test_no_route_is_missing_and_none_is_made_up(registry):
    app = make_app(registry, Follower(registry))
    paths = {re.sub(r":\w+\}", "}", getattr(route, "path", "")) for route in app.routes}
    assert {path for path in paths if path.startswith("/api/")} == set(openapi_document()["paths"])


@pytest.mark.slow
def test_the_document_has_what_openapi_wants(pages):
    document = pages.get(PATH).json()
    assert document == msgspec.json.decode(msgspec.json.encode(openapi_document()))
    assert document["openapi"].startswith("3.1.")
    operations = [path["get"] for path in document["paths"].values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    for path, operation in zip(document["paths"], operations, strict=True):
        names = [each["name"] for each in operation["parameters"] if each["in"] == "path"]
        assert names == re.findall(r"\{(\w+)\}", path)
        assert operation["responses"]["200"]["description"]
    for ref in re.findall(r"'\$ref': '#/([^']+)'", str(document)):
        part: Any = document
        for name in ref.split("/"):
            part = part[name]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path, each in OPERATIONS.items() if each.kind is not None])
def test_every_answer_is_as_the_document_says(pages, path):
    answer = pages.get(filled(path))
    assert answer.status_code == 200, answer.text
    (content,) = openapi_document()["paths"][path]["get"]["responses"]["200"]["content"].items()
    assert answer.headers["content-type"] == content[0]
    validator(content[1]["schema"]).validate(answer.json())
    assert not validator(content[1]["schema"]).is_valid([])


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path, each in OPERATIONS.items() if each.kind is None])
def test_tables_for_spreadsheets_are_csv(pages, path):
    assert pages.get(filled(path)).headers["content-type"].startswith("text/csv")


def test_every_table_of_a_run_exists(pages):
    for table in TABLES:
        assert pages.get(f"/api/runs/{FINISHED}.csv?table={table}").status_code == 200, table
    assert pages.get(f"/api/runs/{FINISHED}.csv?table=x").status_code == 400


@pytest.mark.slow
def test_every_table_of_monitoring_exists(pages):
    for table in MONITORING_TABLES:
        answer = pages.get(f"/api/models/iris/monitoring.csv?table={table}")
        assert answer.status_code == 200, table
    refused = pages.get("/api/models/iris/monitoring.csv?table=x").json()["message"]
    assert all(f"`{table}`" in refused for table in MONITORING_TABLES)
    assert refused.count("`") == 2 * len(MONITORING_TABLES) + 4


@pytest.mark.slow
@pytest.mark.parametrize("path", OPERATIONS)
def test_every_value_that_the_document_allows_is_taken_and_another_is_refused(pages, path):
    for parameter in openapi_document()["paths"][path]["get"]["parameters"]:
        name, schema = parameter["name"], parameter["schema"]
        if parameter["in"] == "query" and "enum" in schema:
            for value in schema["enum"]:
                assert pages.get(f"{filled(path)}?{name}={value}").status_code == 200, (name, value)
            assert pages.get(f"{filled(path)}?{name}=nonsense").status_code == 400, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/models?sort=colour", 400),
        ("/api/models/beer", 404),
        ("/api/models/iris/99", 404),
        ("/api/inventory/beer", 404),
        ("/api/history/beer.json", 404),
        ("/api/nonsense", 404),
    ],
)
def test_errors_are_as_the_document_says(pages, path, status):
    answer = pages.get(path)
    assert answer.status_code == status
    response = openapi_document()["components"]["responses"][str(status)]
    validator(response["content"]["application/json"]["schema"]).validate(answer.json())
