"""Health follows the states of the models, for checks and for watchers."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lading.server.inference.version import ServedVersion, State
from support.grpc_client import OIP, grpc_serving, plane_of


def test_checks_and_watchers_see_the_states_of_the_models(iris):
    other = ServedVersion("other", 1, "sha256:0")
    plane = plane_of(iris, other)
    kinds = health_pb2.HealthCheckResponse
    with grpc_serving(plane) as (channel, _):
        stub = health_pb2_grpc.HealthStub(channel)

        def status(service: str) -> int:
            return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)

        assert status("") == status(OIP) == kinds.NOT_SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=OIP), timeout=10)
        assert next(watch).status == kinds.NOT_SERVING
        plane.publish([iris])
        assert status("") == status(OIP) == kinds.SERVING
        assert next(watch).status == kinds.SERVING
        iris.advance(State.DRAINING)
        assert status("") == kinds.NOT_SERVING
        assert next(watch).status == kinds.NOT_SERVING
        with pytest.raises(grpc.RpcError) as unknown:
            status("no.Service")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        watch.cancel()
