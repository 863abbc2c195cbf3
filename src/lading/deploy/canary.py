"""A canary as a second Deployment: how a gateway splits the traffic, from the release record alone.

An HTTPRoute splits requests at random: unlike lading's own split it knows no keys, so one caller may reach
both sides. Decides nothing: ``lading rollout`` moves the release, and this translates it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lading.deploy import Options, Side, Workload, object_name
from lading.deploy.kubernetes import deployment, manifests, service
from lading.deploy.pod import HTTP_PORT
from lading.deploy.scaling import autoscaler
from lading.deploy.yamltext import Noted, plain
from lading.errors import UsageError

if TYPE_CHECKING:
    from lading.release import HeaderRule, Release

TFS_CALLS = ("predict", "classify", "regress")
"""What TensorFlow Serving's clients append to the path after a colon."""


def canary_manifests(live: Workload, candidate: Workload, release: Release, gateway: str) -> list[Any]:
    """Return the manifests of both sides and the route between them."""
    return [
        *manifests(live),
        deployment(candidate),
        service(candidate),
        autoscaler(candidate),
        http_route(release, live.options, gateway),
    ]


def http_route(release: Release, options: Options, gateway: str) -> Any:
    """Return the route of a release through `gateway`, which is ``name`` or ``namespace/name``."""
    # Without a namespace, the gateway is in that of the route.
    namespace, _, name = gateway.rpartition("/")
    parent = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": object_name(release.name),
            "namespace": options.namespace,
            "labels": {"app.kubernetes.io/name": release.name, "app.kubernetes.io/managed-by": "lading"},
            "annotations": {"com.lading.release": str(release.number)},
        },
        "spec": {
            "parentRefs": Noted([parent], "Your Gateway; it must allow routes from this namespace."),
            "rules": route_rules(release),
        },
    }


def route_rules(release: Release) -> list[Any]:
    """Return the rules of the route: header rules, then the share, or a mirror while in shadow."""
    matches = _matches(release.name)
    header_rules = [_header_rule(rule, release) for rule in release.plan.rules] if release.is_open else []
    if release.is_open and release.plan.mode == "shadow":
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": _backend(release, "candidate")}}
        why = "A copy of every request; the candidate's answers are discarded."
        share = {
            "matches": matches,
            "filters": Noted([mirror], why),
            "backendRefs": [_backend(release, "live")],
        }
        return [*header_rules, share]
    # Both backends stay after the end of the release, so that a later patch only has to move weights.
    percent = candidate_percent(release)
    refs = [
        {**_backend(release, "live"), "weight": 100 - percent},
        {**_backend(release, "candidate"), "weight": percent},
    ]
    why = f"Release {release.number}, {release.state}: {percent} % to the candidate."
    return [*header_rules, {"matches": matches, "backendRefs": Noted(refs, why)}]


def candidate_percent(release: Release) -> int:
    """Return the candidate's share of requests; 0 once the release has ended, whether live or rolled back."""
    # The weights of an HTTPRoute are whole numbers.
    return round(release.weight_percent) if release.is_open else 0


def weight_patch(release: Release) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) that makes the route match the release."""
    # A merge patch replaces lists as a whole, so all rules are in it.
    patch: dict[str, Any] = plain(
        {
            "metadata": {"annotations": {"com.lading.release": str(release.number)}},
            "spec": {"rules": route_rules(release)},
        }
    )
    return patch


def sides(release: Release | None, model: str) -> tuple[int, int]:
    """Return the live version and the candidate. Raises `UsageError` unless there are both."""
    if release is None or not release.is_open or release.live is None or release.candidate is None:
        actual = "no release" if release is None else f"release {release.number}, {release.state}"
        raise UsageError(
            f"canary of `{model}`",
            expected="a live version and a candidate",
            found=actual,
            hint=f"`lading release {model}:2 --canary 5,25,50,100` starts one",
        )
    return release.live, release.candidate


def _matches(model: str) -> list[dict[str, Any]]:
    """Return the matches for the requests of a model."""
    # Six of them: Gateway API before 1.2 allows eight per rule.
    path = f"/models/{model}"
    prefixes = (path, f"/v2{path}", f"/v1{path}")
    return [
        *({"path": {"type": "PathPrefix", "value": prefix}} for prefix in prefixes),
        # A prefix covers whole path elements, so `/v1/models/iris` does not match `/v1/models/iris:predict`.
        *({"path": {"type": "Exact", "value": f"/v1{path}:{call}"}} for call in TFS_CALLS),
    ]


def _header_rule(rule: HeaderRule, release: Release) -> dict[str, Any]:
    headers = [{"type": "Exact", "name": rule.header, "value": rule.equals}]
    # All paths again: an exact path takes precedence over headers, so without them TensorFlow Serving's calls
    # would follow the share.
    return {
        "matches": [{**match, "headers": headers} for match in _matches(release.name)],
        "backendRefs": [_backend(release, rule.side)],
    }


def _backend(release: Release, side: Side) -> dict[str, Any]:
    return {"name": object_name(release.name, side), "port": HTTP_PORT}
