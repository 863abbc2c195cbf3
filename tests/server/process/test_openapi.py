"""The documentation page and the OpenAPI document: complete, true, and without the internet."""

from __future__ import annotations

import re

import pytest

from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("docs") / "iris"), 1, ("live",)))


@pytest.fixture(scope="module")
def document(iris):
    return iris.get("/openapi.json").json()


def test_every_route_is_in_the_document(iris, document):
    assert document["openapi"].startswith("3.0."), "Swagger UI 4 shows no other version"
    for route in iris.app.router.routes:
        assert route.method.lower() in document["paths"][route.pattern]


def test_every_operation_has_a_name_that_a_generated_client_can_call(iris, document):
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names) == len(iris.app.router.routes)
    assert all(name.isascii() and name.isidentifier() for name in names)
    assert document["paths"]["/predict"]["post"]["operationId"] == "predict"
    assert document["paths"]["/predict/label"]["post"]["operationId"] == "predict_label"


def test_a_path_from_a_setting_has_an_operation_name_as_well():
    asked = hosted(vertex_predict_route="/1/예측", vertex_health_route="/v2_")
    paths = asked.get("/openapi.json").json()["paths"]
    assert paths["/1/예측"]["post"]["operationId"] == "post_1"
    assert {paths[path]["get"]["operationId"] for path in ("/v2", "/v2/", "/v2_")} == {"v2", "v2_2", "v2_3"}


def test_a_hint_of_a_native_refusal_is_described(iris, document):
    def refusal_schema(path: str, method: str) -> dict:
        content = document["paths"][path][method]["responses"]["4XX"]["content"]
        return content["application/json"]["schema"]

    answer = iris.post("/predict", content=b"{").json()
    native = refusal_schema("/predict", "post")
    assert answer.keys() == native["properties"].keys() == {"error", "code", "hint"}
    assert native["required"] == ["error", "code"]
    assert refusal_schema("/v2/models/{name}/infer", "post")["properties"].keys() == {"error"}


def test_every_example_of_a_prediction_can_be_sent_as_it_is(iris, document):
    examples = 0
    for path, operations in document["paths"].items():
        operation = operations.get("post")
        body = operation and operation["requestBody"]["content"]["application/json"].get("example")
        if not body:
            continue
        for parameter in operation.get("parameters", ()):
            path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))  # noqa: PLW2901
        answer = iris.post(path, body)
        assert answer.status_code == 200, answer.text
        expected = operation["responses"]["200"]["content"]["application/json"].get("example")
        if expected is not None:
            assert len(answer.json()["prediction"]) == len(expected["prediction"])
        examples += 1
    assert examples == 14


def test_the_page_loads_nothing_from_other_servers(iris):
    page = iris.get("/docs").text
    assert not re.search(r"https?://", page)
    for asset in re.findall(r'"(/docs/[^"]+)"', page):
        answer = iris.get(asset)
        assert answer.status_code == 200
        assert len(answer.content) > 1000
    assert iris.get("/docs/other.js").status_code == 404
