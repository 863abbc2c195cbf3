"""Clients that hold calls, streams and watches without end, over real sockets: nobody else waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lading.server.exchange import Pipeline
from lading.server.grpc.server import GrpcServer
from lading.server.inference.version import State
from lading.server.metrics import Metrics
from lading.server.process.grpc_listener import services
from lading.settings import ServeSettings
from support.grpc_client import INFER, STREAM_INFER, ask, grpc_address, infer_bytes, one_row, plane_of
from support.hosted_app import gated
from support.http2_frames import READS_NOTHING, RawConnection, message
from support.waiting import wait_until

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
ONE_ROW = message(infer_bytes(**one_row()))
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def is_healthy(channel: grpc.Channel) -> bool:
    check = health_pb2_grpc.HealthStub(channel).Check
    return bool(check(health_pb2.HealthCheckRequest(), timeout=5).status == SERVING)


def held(channel: grpc.Channel, method: str, *first: bytes) -> grpc.Call:
    """Begin a call that sends what is `first` and then nothing."""

    def send() -> Iterator[bytes]:
        yield from first
        threading.Event().wait(30)

    call: grpc.Call = channel.stream_stream(method)(send(), timeout=20)
    return call


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", ONE_ROW[:5], ONE_ROW[:-1]], ids=["headers", "length", "half"])
@pytest.mark.parametrize("method", [INFER, STREAM_INFER, CHECK, WATCH, REFLECT])
def test_calls_whose_message_does_not_come_hold_up_nobody(iris, method, sent):
    settings = ServeSettings(grpc_threads=4)
    with (
        grpc_address(plane_of(iris), settings=settings) as (address, metrics),
        RawConnection(address) as holder,
        grpc.insecure_channel(address) as channel,
    ):
        for _ in range(200):
            holder.open(method, sent)
        assert is_healthy(channel)
        assert ask(channel, "ModelInfer", timeout=5, **one_row())
        stream = held(channel, STREAM_INFER, infer_bytes(**one_row()))
        assert next(iter(stream))
        assert metrics.summary().grpc_ended == {}


@pytest.mark.slow
def test_two_thousand_calls_whose_message_does_not_come_hold_up_nobody(iris):
    with grpc_address(plane_of(iris)) as (address, _), grpc.insecure_channel(address) as channel:
        holders = [RawConnection(address) for _ in range(4)]
        for holder in holders:
            for _ in range(500):
                holder.open(INFER)
        assert is_healthy(channel)
        assert ask(channel, "ModelInfer", timeout=5, **one_row())
        assert threading.active_count() < 100
        for holder in holders:
            holder.socket.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", [INFER, STREAM_INFER, CHECK, WATCH, REFLECT])
def test_a_message_that_does_not_come_in_time_ends_its_call(iris, method, caplog):
    settings = ServeSettings(grpc_client_timeout_s=0.3)
    with (
        grpc_address(plane_of(iris), settings=settings) as (address, metrics),
        grpc.insecure_channel(address) as channel,
    ):
        call = held(channel, method)
        assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert call.details() == "expected the whole message within 0.3 s"
        wait_until(lambda: metrics.summary().grpc_ended == {"message_timeout": 1})
        wait_until(lambda: "127.0.0.1: DEADLINE_EXCEEDED, expected the whole message" in caplog.text)


@pytest.mark.slow
def test_a_message_that_comes_byte_by_byte_gets_no_more_time(iris):
    settings = ServeSettings(grpc_client_timeout_s=0.5)
    with (
        grpc_address(plane_of(iris), settings=settings) as (address, metrics),
        RawConnection(address) as slow,
    ):
        stream = slow.open(INFER)
        for byte in ONE_ROW[:-1]:
            slow.send_data(stream, bytes((byte,)))
            if metrics.summary().grpc_ended:
                break
            time.sleep(0.05)  # The pace is what is tested.
        assert metrics.summary().grpc_ended == {"message_timeout": 1}


@pytest.mark.slow
def test_a_stream_that_has_been_answered_may_wait_for_its_client_so_long(iris):
    settings = ServeSettings(grpc_client_timeout_s=0.2, grpc_stream_idle_s=0.6)
    with (
        grpc_address(plane_of(iris), settings=settings) as (address, metrics),
        grpc.insecure_channel(address) as channel,
    ):
        began = time.monotonic()
        call = held(channel, STREAM_INFER, infer_bytes(**one_row()))
        assert next(iter(call))
        assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert call.details() == "expected another message of the stream within 0.6 s"
        assert time.monotonic() - began > 0.6
        wait_until(lambda: metrics.summary().grpc_ended == {"stream_idle": 1})


@pytest.mark.parametrize("method", [INFER, STREAM_INFER])
def test_an_answer_that_is_not_read_ends_its_call(iris, method, caplog):
    settings = ServeSettings(grpc_client_timeout_s=0.3, grpc_threads=1)
    with (
        grpc_address(plane_of(iris), settings=settings) as (address, metrics),
        RawConnection(address, settings=READS_NOTHING) as unread,
        grpc.insecure_channel(address) as channel,
    ):
        for _ in range(4):
            unread.open(method, ONE_ROW, ends=True)
        assert ask(channel, "ModelInfer", timeout=5, **one_row())
        wait_until(lambda: metrics.summary().grpc_ended == {"answer_unread": 4})
        wait_until(lambda: "127.0.0.1: cut off: an answer was not read within 0.3 s" in caplog.text)


def test_watchers_that_do_not_read_hold_up_neither_checks_nor_other_watchers(iris):
    plane = plane_of(iris)
    with (
        grpc_address(plane) as (address, _),
        RawConnection(address, settings=READS_NOTHING) as unread,
        grpc.insecure_channel(address) as channel,
    ):
        for _ in range(100):
            unread.open(WATCH, message(b""), ends=True)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
        assert next(watch).status == SERVING
        assert is_healthy(channel)
        iris.advance(State.DRAINING)
        assert next(watch).status == NOT_SERVING
        watch.cancel()


@pytest.mark.slow
def test_beyond_a_thousand_watchers_the_client_with_the_most_loses_its_oldest(iris):
    plane = plane_of(iris)
    with grpc_address(plane) as (address, metrics), grpc.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == SERVING
        crowd = [RawConnection(address, host="127.0.0.2") for _ in range(2)]
        for holder in crowd:
            for _ in range(501):
                holder.open(WATCH, message(b""), ends=True)
        wait_until(lambda: metrics.summary().grpc_ended == {"too_many_watchers": 3})
        iris.advance(State.DRAINING)
        assert next(watch).status == NOT_SERVING
        watch.cancel()
        for holder in crowd:
            holder.socket.close()


def test_when_too_many_calls_are_open_those_without_a_message_make_way(iris):
    settings = ServeSettings(grpc_max_open_calls=16)
    with grpc_address(plane_of(iris), settings=settings) as (address, metrics):
        holders = [RawConnection(address) for _ in range(10)]  # Two calls each, as one client may have.
        with grpc.insecure_channel(address) as channel:
            stream = held(channel, STREAM_INFER, infer_bytes(**one_row()))
            assert next(iter(stream))
            for holder in holders:
                for _ in range(2):
                    holder.open(INFER)
            wait_until(lambda: metrics.summary().grpc_ended.get("too_many_calls", 0) >= 5)
            assert ask(channel, "ModelInfer", timeout=5, **one_row())
            assert stream.is_active()
            stream.cancel()
        for holder in holders:
            holder.socket.close()


def test_calls_that_were_reset_leave_their_places_to_others(iris):
    runtime = gated(iris, 20)
    settings = ServeSettings(grpc_threads=1, max_queue=2)
    with (
        grpc_address(plane_of(iris), settings=settings) as (address, metrics),
        RawConnection(address) as resetting,
        grpc.insecure_channel(address) as channel,
    ):
        infer = channel.unary_unary(INFER)
        running = infer.future(infer_bytes(**one_row()), timeout=20)
        assert runtime.entered.wait(5)
        for _ in range(50):
            for stream in [resetting.open(INFER, ONE_ROW, ends=True) for _ in range(2)]:
                resetting.reset(stream)
            # Its answer comes after what the server has read before it.
            assert is_healthy(channel)
        waiting = [infer.future(infer_bytes(**one_row()), timeout=20) for _ in range(2)]
        runtime.gate.set()
        assert [call.code() for call in (running, *waiting)] == [grpc.StatusCode.OK] * 3
        assert "queue_full" not in metrics.summary().grpc_ended


def test_clients_that_reset_their_calls_all_the_time_cost_others_none(iris):
    settings = ServeSettings(grpc_threads=2, max_queue=32)
    with grpc_address(plane_of(iris), settings=settings) as (address, _):
        ended = threading.Event()

        def reset_calls(payload: bytes) -> None:
            with RawConnection(address) as client:
                # Of whole calls few at once: on a busy machine their messages are read before the resets
                # behind them, and they wait as they should. Those without a message fill any queue.
                count = 3 if payload else 20
                while not ended.is_set():
                    opened = [client.open(INFER, payload, ends=bool(payload)) for _ in range(count)]
                    for stream in opened:
                        client.reset(stream)
                    ended.wait(0.02)

        threads = [threading.Thread(target=reset_calls, args=(sent,)) for sent in (b"", ONE_ROW) * 2]
        for thread in threads:
            thread.start()
        try:
            with grpc.insecure_channel(address) as channel:
                infer = channel.unary_unary(INFER)
                codes = [infer.future(infer_bytes(**one_row()), timeout=20).code() for _ in range(68)]
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert codes == [grpc.StatusCode.OK] * 68


@pytest.mark.slow
def test_a_server_that_stops_waits_a_moment_for_messages_and_watchers_and_no_longer(iris):
    plane = plane_of(iris)
    server = GrpcServer(Pipeline(plane, Metrics(plane)), ServeSettings(), tuple(services()))
    address = f"127.0.0.1:{server.start('127.0.0.1', 0)}"
    with grpc.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == SERVING
        call = held(channel, INFER)
        wait_until(lambda: is_healthy(channel))
        stopping = threading.Thread(target=server.stop, args=(60,))
        stopping.start()
        assert next(watch).status == NOT_SERVING
        assert watch.code() is grpc.StatusCode.UNAVAILABLE
        assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        stopping.join(20)
        assert not stopping.is_alive()
