"""The gRPC port: reserved from the beginning, refused if it is taken, drained at the end."""

from __future__ import annotations

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lading.errors import InvalidSetting
from lading.server.exchange import Pipeline
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion
from lading.server.metrics import Metrics
from lading.server.process.grpc_listener import GrpcListener
from lading.server.process.sockets import reserve_grpc_port
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import ask, one_row, plane_of
from support.hosted_app import served_from
from support.server_process import serving


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"))


def listener_for(plane: DataPlane, settings: ServeSettings) -> GrpcListener:
    return GrpcListener(Pipeline(plane, Metrics(plane)), settings, reserve_grpc_port(settings))


def test_a_taken_port_is_refused_before_anything_starts(iris):
    plane = plane_of(iris)
    listener = listener_for(plane, ServeSettings(grpc_port=0))
    with pytest.raises(InvalidSetting, match=f"127.0.0.1:{listener.port}"):
        listener_for(plane, ServeSettings(grpc_port=listener.port))
    port = listener.port
    listener.open()
    listener.close(1)
    again = listener_for(plane, ServeSettings(grpc_port=port))
    again.close(1)


def test_without_a_port_nothing_is_opened(iris):
    plane = plane_of(iris)
    listener = listener_for(plane, ServeSettings(grpc_port=-1))
    listener.open()
    assert listener.port == -1
    listener.close(1)


@pytest.mark.slow
def test_calls_are_answered_during_a_drain(tmp_path):
    linear_bundle(tmp_path / "iris")
    with serving(tmp_path / "iris", flags=("--drain-delay-s", "3")) as server:
        with grpc.insecure_channel(server.grpc_target()) as channel:
            assert ask(channel, "ModelInfer", **one_row())
            stopped: list[int] = []
            stopper = threading.Thread(target=lambda: stopped.append(server.stop()))
            stopper.start()
            stub = health_pb2_grpc.HealthStub(channel)
            draining = health_pb2.HealthCheckResponse.NOT_SERVING
            server.wait_until(
                lambda: stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == draining
            )
            failed = []
            for _ in range(100):
                try:
                    ask(channel, "ModelInfer", **one_row())
                except grpc.RpcError as error:
                    failed.append(error.details())
            assert stopper.is_alive(), "all of them while it drains"
            stopper.join()
        assert stopped == [0]
    assert "Traceback" not in server.log
    assert failed == []
