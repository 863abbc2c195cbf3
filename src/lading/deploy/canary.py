"""A canary as a second Deployment: how a gateway shares the traffic out, from the release record alone.

The share of an HTTPRoute is of requests, by lot: unlike lading's own split it knows no keys, so a caller may
meet both sides. Decides nothing: ``lading rollout`` moves the release, this only says what it means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lading.deploy import Options, Side, Workload, object_name
from lading.deploy.kubernetes import autoscaler, deployment, manifests, service
from lading.deploy.pod import HTTP_PORT
from lading.deploy.yamltext import Noted, plain
from lading.errors import UsageError

if TYPE_CHECKING:
    from lading.release import HeaderRule, Release

TFS_CALLS = ("predict", "classify", "regress")
"""What TensorFlow Serving's clients put behind a colon."""


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
    """Return the route of a release through `gateway`, ``name`` or ``namespace/name``."""
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
            "parentRefs": Noted([parent], "Your Gateway; it must admit routes from this namespace."),
            "rules": route_rules(release),
        },
    }


def route_rules(release: Release) -> list[Any]:
    """Return the rules of the route: header rules, then the share, or a mirror while in shadow."""
    matches = _matches(release.name)
    forced = [_header_rule(rule, release) for rule in release.plan.rules] if release.is_open else []
    if release.is_open and release.plan.mode == "shadow":
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": _backend(release, "candidate")}}
        why = "A copy of every request; the candidate's answers are thrown away."
        share = {
            "matches": matches,
            "filters": Noted([mirror], why),
            "backendRefs": [_backend(release, "live")],
        }
        return [*forced, share]
    percent = candidate_percent(release)
    refs = [
        {**_backend(release, "live"), "weight": 100 - percent},
        {**_backend(release, "candidate"), "weight": percent},
    ]
    why = f"Release {release.number}, {release.state}: {percent} % to the candidate."
    return [*forced, {"matches": matches, "backendRefs": Noted(refs, why)}]


def candidate_percent(release: Release) -> int:
    """Return the candidate's share; none once the release has ended, whichever way."""
    return round(release.weight_percent) if release.is_open else 0


def weight_patch(release: Release) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) that brings the route to where the release is."""
    patch: dict[str, Any] = plain(
        {
            "metadata": {"annotations": {"com.lading.release": str(release.number)}},
            "spec": {"rules": route_rules(release)},
        }
    )
    return patch


def sides(release: Release | None, model: str) -> tuple[int, int]:
    """Return the versions that are live and candidate. Raises `UsageError` where there are not both."""
    if release is None or not release.is_open or release.live is None or release.candidate is None:
        found = "no release" if release is None else f"release {release.number}, {release.state}"
        raise UsageError(
            f"canary of `{model}`",
            expected="a live version and a candidate",
            found=found,
            hint=f"`lading release {model}:2 --canary 5,25,50,100` makes one",
        )
    return release.live, release.candidate


def _matches(model: str) -> list[dict[str, Any]]:
    """Return what matches the requests for a model: six, where old releases of the Gateway API allow eight.

    A prefix there is of whole path elements: `/v1/models/iris` is none of `/v1/models/iris:predict`.
    """
    path = f"/models/{model}"
    prefixes = (path, f"/v2{path}", f"/v1{path}")
    return [
        *({"path": {"type": "PathPrefix", "value": one}} for one in prefixes),
        *({"path": {"type": "Exact", "value": f"/v1{path}:{call}"}} for call in TFS_CALLS),
    ]


def _header_rule(rule: HeaderRule, release: Release) -> dict[str, Any]:
    headers = [{"type": "Exact", "name": rule.header, "value": rule.equals}]
    # Each path again: an exact path goes before headers, so the share would take TensorFlow Serving's calls.
    return {
        "matches": [{**one, "headers": headers} for one in _matches(release.name)],
        "backendRefs": [_backend(release, rule.side)],
    }


def _backend(release: Release, side: Side) -> dict[str, Any]:
    return {"name": object_name(release.name, side), "port": HTTP_PORT}
