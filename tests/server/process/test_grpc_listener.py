"""The gRPC port: reserved from the beginning, refused if it is taken, drained at the end."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
from pathlib import Path

import grpc
import httpx
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
from support.waiting import wait_until


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


@pytest.mark.slow
def test_a_protobuf_of_another_version_makes_the_server_not_ready_and_says_why(tmp_path):
    """Generated code refuses a runtime that is older than itself: as where pip has installed one over it."""
    import google.protobuf

    package = tmp_path / "site" / "google" / "protobuf"
    shutil.copytree(Path(google.protobuf.__file__).parent, package)
    version = package / "runtime_version.py"
    text, changes = re.subn(r"^(OSS_MAJOR|MAJOR) = \d+", r"\1 = 3", version.read_text(), flags=re.MULTILINE)
    assert changes
    version.write_text(text)
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    with serving(linear_bundle(tmp_path / "b").path, environ={"PYTHONPATH": path}, ready=False) as server:
        server.wait_until(lambda: "does not answer" in server.log)
        health = server.wait_until(
            lambda: (h := httpx.get(f"{server.url}/health")) and "protobuf" in h.text.lower() and h
        )
        assert health.status_code == 503
        assert "grpc://127.0.0.1" in health.json()["reason"]
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 503
        assert "Traceback" not in server.log
        assert server.stop() == 0


@pytest.mark.slow
def test_a_port_that_cannot_listen_makes_the_server_not_ready(iris):
    plane = plane_of(iris)
    reserved = reserve_grpc_port(ServeSettings(grpc_port=0))
    # Another process got hold of the port without sharing it.
    assert reserved is not None
    port = reserved.getsockname()[1]
    reserved.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        listener = GrpcListener(Pipeline(plane, Metrics(plane)), ServeSettings(grpc_port=port), other)
        listener.open()
        wait_until(lambda: not plane.readiness.is_ready())
        obstacle = plane.readiness.obstacle()
        assert obstacle is not None
        assert f"grpc://127.0.0.1:{port} does not answer" in obstacle.reason
        listener.close(1)
