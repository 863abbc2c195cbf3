"""Requests name what they are for, and responses have all their headers."""

from __future__ import annotations

import pytest

from lading.server.http.messages import JSON, Request, Response, Route, json_response
from support.hosted_app import hosted


def route(pattern: str, *, fast: bool = False) -> Route:
    return Route("POST", pattern, lambda *_: Response(), lambda _error: Response(), "test", fast=fast)


@pytest.mark.parametrize(
    ("request_route", "params", "target"),
    [
        (None, {}, None),
        (route("/docs"), {}, None),
        (route("/predict", fast=True), {}, (None, None, None)),
        (route("/models/{name}"), {"name": "iris"}, ("iris", None, None)),
        (
            route("/models/{name}/versions/{version}"),
            {"name": "iris", "version": "3"},
            ("iris", 3, None),
        ),
        (
            route("/models/{name}/versions/{version}"),
            {"name": "iris", "version": "live"},
            ("iris", None, None),
        ),
        (route("/models/{name}/tags/{tag}"), {"name": "iris", "tag": "live"}, ("iris", None, "live")),
        (route("/models/{name}/labels/{label}"), {"name": "iris", "label": "live"}, ("iris", None, "live")),
    ],
)
def test_a_request_is_for_the_version_in_its_path_or_for_the_default_model(request_route, params, target):
    request = Request("POST", "/", params=params, route=request_route)
    assert request.target() == target


def test_a_response_has_its_own_headers_and_those_of_model_and_request(served):
    response = json_response({"x": 1}, 201)
    response.headers = ((b"x-own", b"1"),)
    response.model, response.request_id = served.model, b"mine"
    assert response.status == 201
    assert response.all_headers() == [
        (b"content-type", JSON),
        (b"content-length", b"7"),
        (b"x-own", b"1"),
        (b"x-lading-model", b"iris:1"),
        (b"x-lading-digest", served.digest.encode()),
        (b"x-request-id", b"mine"),
    ]


def test_a_response_that_no_model_answered_names_none(served):
    answer = hosted(served).get("/health")
    assert "x-lading-model" not in answer.headers
    assert answer.headers["x-request-id"]
