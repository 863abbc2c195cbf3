"""Cross-origin requests: none without the setting, and with it those of its origins."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from

OURS, OTHER = "https://app.example.com", "https://other.example.com"
ASKED = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
BODY = {"data": [[1, 2, 3, 4]]}
ALLOWED = "access-control-allow-origin"


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("cors") / "iris"))


def test_without_the_setting_no_answer_allows_a_page_anything(iris):
    client = hosted(iris)
    answer = client.post("/predict", BODY, headers={"origin": OURS})
    assert answer.status_code == 200
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert client.request("OPTIONS", "/predict", headers={"origin": OURS, **ASKED}).status_code == 405


@pytest.mark.parametrize("path", ["/predict", "/v1/models/iris:predict", "/v2/models/iris/infer", "/nowhere"])
def test_pages_of_an_origin_of_the_setting_may_call_and_read_every_answer(iris, path):
    client = hosted(iris, cors_origins=f"https://a.example, {OURS}")
    asked = client.request("OPTIONS", path, headers={"origin": OURS, **ASKED})
    assert asked.status_code == 204
    assert asked.headers[ALLOWED] == OURS
    assert asked.headers["vary"] == "origin"
    assert asked.headers["access-control-allow-methods"] == "GET, POST"
    assert asked.headers["access-control-allow-headers"] == "content-type"
    answer = client.post(path, BODY, headers={"origin": OURS})
    assert answer.headers[ALLOWED] == OURS  # Refusals, too: else a page could not read why.
    assert "x-lading-model" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_pages_of_another_origin_may_not(iris):
    client = hosted(iris, cors_origins=OURS)
    asked = client.request("OPTIONS", "/predict", headers={"origin": OTHER, **ASKED})
    assert asked.status_code == 403
    assert ALLOWED not in asked.headers
    assert f"found `{OTHER}`" in asked.json()["error"]
    assert ALLOWED not in client.post("/predict", BODY, headers={"origin": OTHER}).headers
    assert ALLOWED not in client.post("/predict", BODY).headers


def test_a_star_stands_for_every_origin(iris):
    client = hosted(iris, cors_origins="*")
    assert client.post("/predict", BODY, headers={"origin": OTHER}).headers[ALLOWED] == "*"
    assert client.request("OPTIONS", "/predict", headers={"origin": "null", **ASKED}).status_code == 204


def test_no_header_of_a_client_becomes_another_header(iris):
    client = hosted(iris, cors_origins="*")
    headers = {"origin": OURS, **ASKED, "access-control-request-headers": "a\tb;c"}
    asked = client.request("OPTIONS", "/predict", headers=headers)
    assert asked.headers["access-control-allow-headers"] == ""


@pytest.mark.parametrize(
    "origins", ["app.example.com", "https://a.example/path", "https://*.example.com", "null"]
)
def test_what_is_no_origin_is_refused_at_the_start(origins):
    with pytest.raises(InvalidSetting, match="cors_origins"):
        hosted(cors_origins=origins)
