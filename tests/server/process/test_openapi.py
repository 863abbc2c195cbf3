"""The documentation page and the OpenAPI document: complete, true, and without the internet."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from lading.errors import InvalidSetting
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return hosted(served_from(linear_bundle(tmp_path_factory.mktemp("docs") / "iris"), 1, ("live",)))


@pytest.fixture(scope="module")
def document(iris):
    return iris.get("/openapi.json").json()


@pytest.mark.slow
def test_every_route_is_in_the_document(iris, document):
    assert document["openapi"].startswith("3.0."), "generators of clients read 3.0"
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


@pytest.mark.slow
def test_the_page_loads_nothing_but_the_document(iris):
    answer = iris.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    script = re.fullmatch(r".*<script>(.*?)</script>.*", answer.text, re.DOTALL)
    assert script is not None  # One script, and none in attributes.
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert not re.search(r"\son[a-z]+=", answer.text.replace(script[1], ""))
    assert not re.search(r"https?://|<link[^>]+stylesheet|<script[^>]+src|@import|[^c]url\(", answer.text)
    assert iris.get("/docs/").text == answer.text
    assert iris.get("/docs/other.js").status_code == 404


def test_the_page_names_every_group_of_routes(iris, document):
    page = iris.get("/docs").text
    tags = {operation["tags"][0] for path in document["paths"].values() for operation in path.values()}
    assert all(re.search(rf"\b{tag}: ", page) for tag in tags)


@pytest.mark.parametrize(
    ("setting", "headers", "prefix"),
    [
        ("", {}, None),
        ("/ml/", {}, "/ml"),
        ("", {"x-forwarded-prefix": "/team/iris/"}, "/team/iris"),
        ("/ml", {"x-forwarded-prefix": "/team"}, "/team"),
        ("/ml", {"x-forwarded-prefix": "//evil.example"}, "/ml"),
        ("", {"x-forwarded-prefix": "https://evil.example/"}, None),
        ("", {"x-forwarded-prefix": "/a\\evil"}, None),
    ],
)
def test_behind_a_proxy_the_document_and_the_root_begin_with_its_prefix(setting, headers, prefix):
    asked = hosted(root_path=setting)
    document = asked.get("/openapi.json", headers=headers).json()
    assert document.get("servers") == ([{"url": prefix}] if prefix else None)
    places = asked.get("/", headers=headers).json()
    assert places["documentation"] == f"{prefix or ''}/docs"
    led = asked.get("/", headers={**headers, "accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (307, f"{prefix or ''}/docs")


def test_a_proxy_may_leave_its_prefix_in_the_path(iris):
    asked = hosted(*iris.app.plane.versions("iris"), root_path="/ml")
    for prefix in ("/ml", ""):
        assert asked.get(f"{prefix}/health").json()["health"] == "ok"
        assert asked.get(f"{prefix}/docs").text == iris.get("/docs").text
        assert asked.post(f"{prefix}/predict", {"data": [[1, 2, 3, 4]]}).status_code == 200
        refused = asked.post(f"{prefix}/v2/models/iris/infer", {})
        assert (refused.status_code, refused.json().keys()) == (400, {"error"})
    assert asked.get("/ml").json()["name"] == "lading"
    assert asked.get("/mlhealth").status_code == 404


@pytest.mark.parametrize("path", ["ml", "//ml", "/a b", "https://a/"])
def test_a_root_path_that_is_no_path_is_refused(path):
    with pytest.raises(InvalidSetting, match="root_path"):
        hosted(root_path=path)
