"""Whether a server is ready: one answer, by the states of its versions and what loading says."""

from __future__ import annotations

import pytest

from lading.errors import ModelNotReady
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import CATALOG_UNREACHABLE, NotReady
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.observe.observer import Observer
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from support.hosted_app import AppClient


def version_in(state: State, number: int = 1, name: str = "iris", reason: str = "") -> ServedVersion:
    return ServedVersion(name, number, f"sha256:{number:064x}", state=state, reason=reason)


def readiness_of(*versions: ServedVersion, traffic: Traffic | None = None):
    plane = DataPlane()
    plane.publish(versions, {traffic.name: traffic} if traffic is not None else None)
    return plane.readiness


def test_a_server_without_models_is_not_ready_for_the_reason_of_loading():
    readiness = readiness_of()
    assert readiness.obstacle() == NotReady("empty", "no model is loaded")
    readiness.not_ready_reason = CATALOG_UNREACHABLE
    assert readiness.obstacle() == NotReady("empty", f"no model is loaded: {CATALOG_UNREACHABLE}")
    with pytest.raises(ModelNotReady, match="no model is loaded: catalog unreachable"):
        readiness.require()


def test_a_server_is_ready_when_every_model_is():
    readiness = readiness_of(version_in(State.READY), version_in(State.READY, name="digits"))
    readiness.not_ready_reason = "ignored once something is loaded"
    assert readiness.is_ready()
    readiness.require()


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_a_version_in_any_other_state_keeps_the_server_from_being_ready(state):
    readiness = readiness_of(version_in(State.READY), version_in(state, name="digits"))
    assert not readiness.is_ready()
    assert readiness.obstacle().reason == f"`digits:1` is {state.word}"


def test_of_several_obstacles_the_worst_is_reported():
    readiness = readiness_of(
        version_in(State.DRAINING, reason="the server is stopping"),
        version_in(State.LOADING, name="digits"),
        version_in(State.FAILED, name="wine", reason="its golden samples differ"),
    )
    assert readiness.obstacle() == NotReady("failed", "its golden samples differ")


def test_a_candidate_that_has_failed_does_not_make_a_released_model_unready():
    canary = Traffic(name="iris", release=2, mode="canary", live=1, candidate=2, weight_percent=5)
    versions = version_in(State.READY, 1), version_in(State.FAILED, 2)
    assert readiness_of(*versions, traffic=canary).is_ready()
    assert not readiness_of(*versions).is_ready()


def test_a_candidate_that_is_not_ready_takes_no_replica_out_of_traffic_on_any_route():
    live, candidate = pair = version_in(State.READY, 1), version_in(State.READY, 2)
    settings = ServeSettings(grpc_port=-1, vertex_health_route="/vertex")
    plane = make_plane(settings, "iris", Observer("here"))
    candidate.advance(State.DRAINING)
    plane.publish(pair, {"iris": Traffic("iris", 1, "canary", 1, 2, 5.0)})
    client = AppClient(make_app(plane, settings))
    routes = ("/health", "/ping", "/vertex", "/v2/health/ready")
    assert [client.get(route).status_code for route in routes] == [200] * 4
    live.advance(State.DRAINING)
    plane.publish(pair, {"iris": Traffic("iris", 1, "canary", 1, 2, 5.0)})
    assert all(client.get(route).status_code in (400, 503) for route in routes)
