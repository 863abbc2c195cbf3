"""Routes are found by method and path, cached, and refused with what would be right."""

from __future__ import annotations

import pytest

from lading.errors import MethodRefused, RouteNotFound
from lading.server.http.messages import Response, Route
from lading.server.http.router import LONGEST_CACHED_PATH, Router
from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import SETTINGS, request
from support.wire import listening


def refuse(_error: Exception) -> Response:
    return Response(b"refused", 400)


def refuse_in_words_of_the_models(_error: Exception) -> Response:
    return Response(b"no such model route", 400)


def route(method: str, pattern: str, **options: object) -> Route:
    options = {"refuse": refuse, **options}
    return Route(method, pattern, lambda *_: Response(), protocol="test", **options)  # type: ignore[arg-type]


PREDICT = route("POST", "/models/{name}:predict", refuse=refuse_in_words_of_the_models)
SHOW = route("GET", "/models/{name}", refuse=refuse_in_words_of_the_models)
ANY_CASE = route("GET", "/v1/Models", any_case=True)
BEYOND = route("GET", "/v1/")


@pytest.fixture
def router() -> Router:
    return Router((PREDICT, SHOW, ANY_CASE), refuse, beyond=(BEYOND,))


@pytest.mark.parametrize(
    ("method", "path", "found_route", "params"),
    [
        ("POST", "/models/iris:predict", PREDICT, {"name": "iris"}),
        ("GET", "/models/iris", SHOW, {"name": "iris"}),
        ("HEAD", "/models/iris", SHOW, {"name": "iris"}),
        ("GET", "/models/a%2Fb", SHOW, {"name": "a/b"}),
        ("GET", "/v1/MODELS", ANY_CASE, {}),
        ("PUT", "/V1/anything", BEYOND, {}),
    ],
)
def test_a_route_is_found_with_its_parameters_and_again_in_the_cache(
    router, method, path, found_route, params
):
    for _ in range(2):
        assert router.find(method, path) == (found_route, params)


@pytest.mark.parametrize("path", ["/", "/models", "/models/iris/", "/models/a/b", "/models/iris:explain"])
def test_a_path_without_a_route_is_not_found(router, path):
    with pytest.raises(RouteNotFound, match="a route of this server"):
        router.find("GET", path)


def test_another_method_is_refused_with_the_methods_that_the_path_has(router):
    with pytest.raises(MethodRefused) as refused:
        router.find("DELETE", "/models/iris")
    assert refused.value.allowed == ("GET",)


def test_the_protocol_that_has_the_path_words_its_refusals(router):
    assert router.refusing("/models/iris") is refuse_in_words_of_the_models
    assert router.refusing("/nowhere") is refuse


def test_only_so_many_paths_are_cached(router):
    for number in range(5000):
        router.find("GET", f"/models/{number}")
    assert 0 < len(router.cache) <= 4096


def test_long_paths_are_not_cached(served):
    client = hosted(served, **SETTINGS)
    long = "x" * LONGEST_CACHED_PATH
    with listening(client.app, ServeSettings(**SETTINGS), fast=True) as host, host.wire() as wire:
        stage, router = host.stage, client.app.router
        for number in range(5):
            wire.send(request(path=f"/models/{long}{number}/predict"))
            assert wire.answer().status == 404
            wire.send(request(path=f"/nothing/{number}"))
            assert wire.answer().status == 404
        assert len(stage.routes) == 0
        assert len(router.cache) == 0
        wire.send(request())
        assert wire.answer().status == 200
        assert len(stage.routes) == 1
