"""Connections that do nothing, over real sockets: they leave descriptors to REST and places to others."""

from __future__ import annotations

import socket

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import INFER, ask, grpc_address, infer_bytes, one_row, plane_of
from support.hosted_app import gated
from support.http2_frames import PREFACE, RawConnection
from support.server_process import serving
from support.waiting import wait_until

FEW_DESCRIPTORS = ("prlimit", "--nofile=400:400")


def is_healthy(address: str) -> bool:
    """Ask over a connection of its own, as a probe does."""
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        answer = check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def connect(address: str, greeting: bytes) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), 10)
    connection.sendall(greeting)
    return connection


@pytest.mark.slow
@pytest.mark.parametrize(
    "greeting", [b"", PREFACE[:10], PREFACE], ids=["silent", "half a preface", "preface"]
)
def test_a_thousand_connections_that_do_nothing_leave_rest_and_health_theirs(tmp_path, greeting):
    bundle = linear_bundle(tmp_path / "iris.bundle").path
    with serving(bundle, flags=("--grpc-port", "0"), prefix=FEW_DESCRIPTORS) as server:
        address = server.grpc_target()
        crowd = [connect(address, greeting) for _ in range(1000)]
        for _ in range(5):
            assert httpx.get(f"{server.url}/health", timeout=10).status_code == 200
            assert is_healthy(address)
        assert "cannot accept" not in server.log
        metrics = httpx.get(f"{server.url}/metrics", timeout=10).text
        assert 'lading_grpc_ended_total{reason="too_many_connections"}' in metrics
        assert "127.0.0.1: cut off: idle, and too many connections" in server.log
        for connection in crowd:
            connection.close()


def test_of_too_many_connections_those_go_first_that_brought_no_call(iris):
    runtime = gated(iris, 20)
    settings = ServeSettings(grpc_max_connections=16)
    with (
        grpc_address(plane_of(iris), settings=settings) as (address, metrics),
        grpc.insecure_channel(address) as channel,
    ):
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append)
        answer = channel.unary_unary(INFER).future(infer_bytes(**one_row()), timeout=20)
        assert runtime.entered.wait(5)
        crowd = [connect(address, PREFACE) for _ in range(15)]
        wait_until(lambda: metrics.summary().grpc_ended.get("too_many_connections", 0) >= 4)
        runtime.gate.set()
        assert answer.code() is grpc.StatusCode.OK
        assert ask(channel, "ServerLive")[0].live
        assert states[-1] is grpc.ChannelConnectivity.READY
        for connection in crowd:
            connection.close()


@pytest.mark.slow
def test_a_connection_without_calls_is_closed(iris):
    settings = ServeSettings(grpc_max_connection_idle_s=1)
    with grpc_address(plane_of(iris), settings=settings) as (address, _), RawConnection(address) as idle:
        assert idle.is_closed(within_s=20)


@pytest.mark.slow
def test_a_connection_that_does_not_greet_in_time_is_closed(iris):
    settings = ServeSettings(grpc_client_timeout_s=0.3)
    with grpc_address(plane_of(iris), settings=settings) as (address, _):
        for greeting in (b"", PREFACE[:10], PREFACE):
            with connect(address, greeting) as silent:
                silent.settimeout(20)
                while silent.recv(4096):
                    pass


@pytest.mark.slow
def test_a_thousand_rest_connections_that_do_nothing_leave_grpc_and_others_theirs(tmp_path):
    bundle = linear_bundle(tmp_path / "iris.bundle").path
    with serving(bundle, flags=("--grpc-port", "0"), prefix=FEW_DESCRIPTORS) as server:
        address, rest = server.grpc_target(), server.url.removeprefix("http://")
        for greeting in (b"", b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n["):
            crowd = [connect(rest, greeting) for _ in range(1000)]
            for _ in range(5):
                assert httpx.get(f"{server.url}/health", timeout=10).status_code == 200
                assert is_healthy(address)
            for connection in crowd:
                connection.close()
        assert "cut off: idle, and more than 136 connections" in server.log
        assert "out of system resource" not in server.log
