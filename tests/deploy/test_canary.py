"""Where a gateway sends requests by the routes made here: rules of the Gateway API, written down below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lading.deploy.canary import weight_patch
from lading.release import HeaderRule
from lading.server.process.compose import make_app, make_plane
from lading.settings import serve_settings
from support.workloads import release

BOTH, ONLY_CANDIDATE = ["iris", "iris-canary"], ["iris-canary"]
QA = HeaderRule("x-team", "qa", "candidate")
PLACES = {"name": "iris", "version": "3", "tag": "live", "label": "stable"}
REFUSALS = ("/v2/repository/models/",)
"""Under these the server refuses whatever is asked, so a gateway may as well."""


def paths() -> list[str]:
    """Give a path of every route that names a model, from the server itself."""
    settings = serve_settings({}, {})
    routes = make_app(make_plane(settings), settings).router.routes
    patterns = {one.pattern for one in routes if "{name}" in one.pattern}
    return sorted(one.format(**PLACES) for one in patterns if not one.startswith(REFUSALS))


def backends(rules: list[Any], path: str, headers: Mapping[str, str] = {}) -> list[str]:
    """Give who gets a request; nobody means 404."""
    found = [
        (_rank(match), -place, rule)
        for place, rule in enumerate(rules)
        for match in rule["matches"]
        if _fits(match, path, headers)
    ]
    if not found:
        return []
    rule = max(found, key=lambda one: one[:2])[2]
    return [one["name"] for one in rule["backendRefs"]]


def _fits(match: Any, path: str, headers: Mapping[str, str]) -> bool:
    """Tell by HTTPPathMatch and HTTPHeaderMatch: a prefix is of whole path elements."""
    wished = match["path"]["value"].split("/")
    by_path = {
        "Exact": path == match["path"]["value"],
        "PathPrefix": path.split("/")[: len(wished)] == wished,
    }
    asked = match.get("headers", ())
    assert all(one["type"] == "Exact" for one in asked)
    return by_path[match["path"]["type"]] and all(headers.get(one["name"]) == one["value"] for one in asked)


def _rank(match: Any) -> tuple[bool, int, int]:
    """Order matches as HTTPRouteRule does: exact paths, longer paths, more headers; then the first rule."""
    path = match["path"]
    return path["type"] == "Exact", len(path["value"]), len(match.get("headers", ()))


def test_the_server_has_routes_of_every_protocol_that_names_models():
    found = paths()
    assert {one.split("/models/")[0] for one in found} == {"", "/v1", "/v2"}
    assert {"/v1/models/iris:predict", "/v1/models/iris/versions/3:predict", "/models/iris/feedback"} < {
        *found
    }


@pytest.mark.parametrize("path", paths())
def test_the_route_covers_every_protocol_that_names_the_model(path):
    """Also where TensorFlow Serving puts a colon behind the name, in all modes and by header too."""
    rules = weight_patch(release(rules=(QA,)))["spec"]["rules"]
    assert backends(rules, path) == BOTH
    assert backends(rules, path, {"x-team": "qa"}) == ONLY_CANDIDATE
    assert backends(rules, path, {"x-team": "other"}) == BOTH
    assert backends(weight_patch(release("shadow"))["spec"]["rules"], path) == ["iris"]


@pytest.mark.parametrize(
    "path",
    ["/v1/models/iris2:predict", "/v1/models/iris2", "/models/iris.2/predict", "/v2/models/iri", "/models"],
)
def test_the_route_leaves_other_models_alone(path):
    assert backends(weight_patch(release(rules=(QA,)))["spec"]["rules"], path, {"x-team": "qa"}) == []


def test_of_two_header_rules_that_fit_the_first_decides_on_every_path():
    rules = weight_patch(release(rules=(HeaderRule("x-user", "ada", "live"), QA)))["spec"]["rules"]
    asked = {"x-user": "ada", "x-team": "qa"}
    assert {tuple(backends(rules, one, asked)) for one in paths()} == {("iris",)}


def test_as_many_header_rules_as_a_route_may_have_stay_within_the_limits_of_the_gateway_api():
    # 16 rules a route; 8 matches a rule before v1.2 and 64 since, 128 matches a route.
    most = tuple(HeaderRule("x-user", str(one), "candidate") for one in range(15))
    counts = [len(one["matches"]) for one in weight_patch(release(rules=most))["spec"]["rules"]]
    assert len(counts) == 16
    assert max(counts) <= 8
    assert sum(counts) <= 128
