"""Canaries: both sides of them, and where a gateway sends requests by the rules of the Gateway API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lading.deploy.canary import canary_manifests, http_route, sides, weight_patch
from lading.deploy.yamltext import plain
from lading.errors import UsageError
from lading.release import HeaderRule
from lading.server.process.compose import make_app, make_plane
from lading.settings import serve_settings
from support.workloads import by_kind, release, work

BOTH, ONLY_CANDIDATE = ["iris", "iris-canary"], ["iris-canary"]
QA = HeaderRule("x-team", "qa", "candidate")
PLACEHOLDERS = {"name": "iris", "version": "3", "tag": "live", "label": "stable"}
REFUSALS = ("/v2/repository/models/",)
"""Under these the server refuses every request, so a gateway may do so as well."""


def paths() -> list[str]:
    """Return a path for every route of the server that names a model."""
    settings = serve_settings({}, {})
    routes = make_app(make_plane(settings), settings).router.routes
    patterns = {route.pattern for route in routes if "{name}" in route.pattern}
    return sorted(pattern.format(**PLACEHOLDERS) for pattern in patterns if not pattern.startswith(REFUSALS))


def backends(rules: list[Any], path: str, headers: Mapping[str, str] = {}) -> list[str]:
    """Return the backends that may get a request; none means 404."""
    candidates = [
        (_precedence(match), -number, rule)
        for number, rule in enumerate(rules)
        for match in rule["matches"]
        if _matches(match, path, headers)
    ]
    if not candidates:
        return []
    rule = max(candidates, key=lambda candidate: candidate[:2])[2]
    return [backend["name"] for backend in rule["backendRefs"]]


def _matches(match: Any, path: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request matches, by HTTPPathMatch and HTTPHeaderMatch; a prefix has whole elements."""
    prefix = match["path"]["value"].split("/")
    by_path = {
        "Exact": path == match["path"]["value"],
        "PathPrefix": path.split("/")[: len(prefix)] == prefix,
    }
    required = match.get("headers", ())
    assert all(header["type"] == "Exact" for header in required)
    by_header = all(headers.get(header["name"]) == header["value"] for header in required)
    return by_path[match["path"]["type"]] and by_header


def _precedence(match: Any) -> tuple[bool, int, int]:
    """Return a key that orders matches as HTTPRouteRule: exact paths, longer paths, more headers."""
    path = match["path"]
    return path["type"] == "Exact", len(path["value"]), len(match.get("headers", ()))


def test_the_server_has_routes_of_every_protocol_that_names_models():
    known = paths()
    assert {path.split("/models/")[0] for path in known} == {"", "/v1", "/v2"}
    assert {"/v1/models/iris:predict", "/v1/models/iris/versions/3:predict", "/models/iris/feedback"} < {
        *known
    }


@pytest.mark.parametrize("path", paths())
def test_the_route_covers_every_protocol_that_names_models(path):
    """That includes TensorFlow Serving's colon after the name, in every mode and by header too."""
    rules = weight_patch(release(rules=(QA,)))["spec"]["rules"]
    assert backends(rules, path) == BOTH
    assert backends(rules, path, {"x-team": "qa"}) == ONLY_CANDIDATE
    assert backends(rules, path, {"x-team": "other"}) == BOTH
    assert backends(weight_patch(release("shadow"))["spec"]["rules"], path) == ["iris"]


@pytest.mark.parametrize(
    "path",
    ["/v1/models/iris2:predict", "/v1/models/iris2", "/models/iris.2/predict", "/v2/models/iri", "/models"],
)
def test_the_route_matches_no_other_model(path):
    assert backends(weight_patch(release(rules=(QA,)))["spec"]["rules"], path, {"x-team": "qa"}) == []


def test_the_first_of_two_matching_header_rules_decides_on_every_path():
    rules = weight_patch(release(rules=(HeaderRule("x-user", "ada", "live"), QA)))["spec"]["rules"]
    headers = {"x-user": "ada", "x-team": "qa"}
    assert {tuple(backends(rules, path, headers)) for path in paths()} == {("iris",)}


def test_the_most_header_rules_stay_within_the_limits_of_the_gateway_api():
    # 16 rules per route; 8 matches per rule before v1.2 and 64 since; 128 matches per route.
    most = tuple(HeaderRule("x-user", str(number), "candidate") for number in range(15))
    counts = [len(rule["matches"]) for rule in weight_patch(release(rules=most))["spec"]["rules"]]
    assert len(counts) == 16
    assert max(counts) <= 8
    assert sum(counts) <= 128


def test_the_two_sides_of_a_canary_share_no_pods():
    manifests = plain(canary_manifests(work(), work(number=2, side="candidate"), release(), "gateway"))
    deployments = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    selectors = [deployment["spec"]["selector"]["matchLabels"] for deployment in deployments]
    assert [deployment["metadata"]["name"] for deployment in deployments] == ["iris", "iris-canary"]
    assert selectors[0] != selectors[1]
    budget = by_kind(manifests)["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert budget == selectors[0]


@pytest.mark.parametrize(
    ("state", "weights"),
    [("running", [90, 10]), ("paused", [90, 10]), ("rolled_back", [100, 0]), ("live", [100, 0])],
)
def test_the_weights_of_the_route_are_those_of_the_release(state, weights):
    (rule,) = weight_patch(release(state=state))["spec"]["rules"]
    assert [backend["name"] for backend in rule["backendRefs"]] == ["iris", "iris-canary"]
    assert [backend["weight"] for backend in rule["backendRefs"]] == weights


def test_a_shadow_gets_a_copy_of_each_request_and_answers_none():
    (rule,) = weight_patch(release("shadow"))["spec"]["rules"]
    assert [backend["name"] for backend in rule["backendRefs"]] == ["iris"]
    (mirror,) = rule["filters"]
    assert mirror["requestMirror"]["backendRef"]["name"] == "iris-canary"


def test_header_rules_of_the_release_become_matches_of_the_route():
    rule = HeaderRule("x-team", "qa", "candidate")
    by_header, _by_share = weight_patch(release(rules=(rule,)))["spec"]["rules"]
    assert by_header["matches"][0]["headers"] == [{"type": "Exact", "name": "x-team", "value": "qa"}]
    assert [backend["name"] for backend in by_header["backendRefs"]] == ["iris-canary"]
    assert len(weight_patch(release(rules=(rule,), state="rolled_back"))["spec"]["rules"]) == 1


def test_the_gateway_may_be_in_another_namespace():
    for gateway, parent in (
        ("infra/public", {"name": "public", "namespace": "infra"}),
        ("public", {"name": "public"}),
    ):
        route = plain(http_route(release(), work().options, gateway))
        assert route["spec"]["parentRefs"] == [parent]


@pytest.mark.parametrize("current", [None, release(state="rolled_back")])
def test_a_canary_without_a_release_in_progress_is_refused(current):
    with pytest.raises(UsageError, match="a live version and a candidate"):
        sides(current, "iris")
