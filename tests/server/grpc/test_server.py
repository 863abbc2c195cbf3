"""Calls over real sockets: their answers and counts, refusals, limits, and clients that go."""

from __future__ import annotations

import gc
import time
from typing import Any

import grpc
import pytest

from lading.access import OPEN
from lading.server.grpc import Method, Service
from lading.server.grpc.calls import CallExchange
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import State
from lading.server.observe.observer import Observer
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import OIP, ask, grpc_serving, infer_bytes, one_row, plane_of
from support.hosted_app import gated, served_from
from support.waiting import wait_until


def infer_later(channel: grpc.Channel, **options: Any) -> grpc.Future:
    """Begin to predict for one row."""
    return channel.unary_unary(f"/{OIP}/ModelInfer").future(infer_bytes(**one_row()), **options)


def test_an_answer_names_the_version_and_the_request(iris):
    with grpc_serving(plane_of(iris)) as (channel, metrics):
        _, call = ask(channel, "ModelInfer", **one_row())
        metadata = dict(call.trailing_metadata())
        assert metadata["x-lading-model"] == "iris:3"
        assert metadata["x-lading-digest"] == iris.digest
        assert metadata["x-request-id"]
        ask(channel, "ModelInfer", **one_row(rows=4))
        counters = metrics.counters("iris", 3, "oip-grpc")
        assert counters.rows == 5
        assert counters.statuses == {"OK": 2}


def test_the_callers_request_id_is_answered(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        call = channel.unary_unary(f"/{OIP}/ServerLive")
        _, done = call.with_call(b"", metadata=(("x-request-id", "mine"),), timeout=5)
        assert dict(done.trailing_metadata())["x-request-id"] == "mine"


def test_a_release_splits_calls_by_their_metadata_and_records_their_answers(iris, tmp_path):
    candidate = served_from(linear_bundle(tmp_path / "next"), 4)
    rule = (b"x-tier", b"gold", "candidate")
    traffic = Traffic("iris", 1, "canary", 3, 4, 0.0, (rule,))
    observer = Observer("here")
    plane = DataPlane("iris", observer=observer)
    plane.publish([iris, candidate], {"iris": traffic})
    with grpc_serving(plane) as (channel, _):
        models = []
        for tier in ("gold", "tin", "gold"):
            call = infer_later(
                channel, metadata=(("x-tier", tier), ("x-request-id", f"of {tier}")), timeout=5
            )
            models.append(dict(call.trailing_metadata())["x-lading-model"])
        assert models == ["iris:4", "iris:3", "iris:4"]
        with pytest.raises(grpc.RpcError):
            ask(channel, "ModelInfer", model_name="iris")
    observer.windows.rotate(time.time(), last=True)
    counts = {window.version: (window.requests, window.errors) for window in observer.windows.drain()}
    # What live refuses is the fault of the request, and says nothing of either side.
    assert counts == {3: (1, {}), 4: (2, {})}
    assert observer.match_feedback("iris", b"of tin", ("0",))
    observer.close()


def test_bytes_that_are_no_message_are_refused_in_a_sentence(iris):
    with grpc_serving(plane_of(iris)) as (channel, metrics), pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{OIP}/ModelInfer")(b"\xff" * 9, timeout=5)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected this method's protobuf message" in refused.value.details()
    assert metrics.counters("", 0, "oip-grpc").errors == {"BodyInvalid": 1}


def test_a_refusal_is_a_sentence_with_its_hint_and_is_counted():
    with grpc_serving(plane_of()) as (channel, metrics), pytest.raises(grpc.RpcError) as refused:
        ask(channel, "ModelInfer", model_name="nope")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "`nope`" in refused.value.details()
    assert metrics.counters("", 0, "oip-grpc").errors == {"ModelNotFound": 1}


def test_a_defect_is_a_sentence_and_no_traceback(caplog):
    def broken(_message: Any, _call: Any) -> Any:
        raise ZeroDivisionError("secret")

    service = Service(OIP, "oip-grpc", "oip", (Method("ServerLive", broken, OPEN),))
    with grpc_serving(plane_of(), service) as (channel, _), pytest.raises(grpc.RpcError) as failed:
        ask(channel, "ServerLive")
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "x-request-id" in failed.value.details()
    assert "secret" not in failed.value.details()
    assert "ZeroDivisionError" in caplog.text


def test_a_message_over_the_limit_is_refused_and_others_are_answered(iris):
    with grpc_serving(plane_of(iris), settings=ServeSettings(max_body_bytes=1000)) as (channel, _):
        with pytest.raises(grpc.RpcError) as refused:
            ask(channel, "ModelInfer", **one_row(rows=1000))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ask(channel, "ModelInfer", **one_row(rows=10))


def test_a_message_over_grpcios_own_limit_of_4_mb_is_answered(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        answer, _ = ask(channel, "ModelInfer", outputs=[{"name": "label"}], **one_row(rows=400_000))
        assert answer.outputs[0].shape == [400_000]


def test_the_deadline_of_a_client_ends_its_call_and_releases_the_version(iris):
    runtime = gated(iris, 5)
    plane = plane_of(iris)
    with grpc_serving(plane) as (channel, _):
        with pytest.raises(grpc.RpcError) as late:
            ask(channel, "ModelInfer", timeout=0.2, **one_row())
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        runtime.gate.set()
        iris.advance(State.DRAINING)
        assert iris.unload(5)


def test_the_deadline_of_the_server_is_a_sentence(iris):
    runtime = gated(iris, 5)
    with grpc_serving(plane_of(iris, deadline_s=0.1)) as (channel, _):
        with pytest.raises(grpc.RpcError) as late:
            ask(channel, "ModelInfer", **one_row())
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "within 0.1 s" in late.value.details()
        runtime.gate.set()


def test_a_full_queue_is_resource_exhausted(iris):
    runtime, plane = gated(iris, 10), plane_of(iris, max_queue=1)
    with grpc_serving(plane) as (channel, _):
        running = infer_later(channel)
        assert runtime.entered.wait(10)
        queued = infer_later(channel)
        wait_until(lambda: plane.depth(iris) == 1)
        refused = [infer_later(channel).code() for _ in range(4)]
        runtime.gate.set()
        assert [running.code(), queued.code()] == [grpc.StatusCode.OK] * 2
    assert refused == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 4


def test_a_client_that_cancels_leaves_the_queue(iris):
    runtime, plane = gated(iris, 10), plane_of(iris)
    with grpc_serving(plane) as (channel, metrics):
        first = infer_later(channel)
        assert runtime.entered.wait(10)
        second = infer_later(channel)
        wait_until(lambda: plane.depth(iris) == 1)
        second.cancel()
        wait_until(lambda: plane.depth(iris) == 0)
        runtime.gate.set()
        assert first.result(5) or not first.exception()
        counters = metrics.counters("iris", 3, "oip-grpc")
        wait_until(lambda: sum(counters.statuses.values()) >= 2)
        assert counters.statuses == {"OK": 1, "CANCELLED": 1}
        assert counters.errors == {}
    assert runtime.rows == [1]
    iris.advance(State.DRAINING)
    assert iris.unload(5)


@pytest.mark.slow
@pytest.mark.parametrize("waits", [False, True])
def test_nothing_of_a_call_stays_after_its_answer(iris, waits):
    if waits:
        gated(iris, 10).gate.set()
    with grpc_serving(plane_of(iris)) as (channel, _):
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                ask(channel, "ModelInfer", **one_row())
            wait_until(lambda: not any(isinstance(item, CallExchange | Job) for item in gc.get_objects()))
        finally:
            gc.enable()


def test_a_method_without_an_implementation_is_unimplemented(iris):
    with grpc_serving(plane_of(iris)) as (channel, _), pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{OIP}/SystemSharedMemoryStatus")(b"", timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_only_so_many_calls_wait_for_a_thread(iris):
    runtime = gated(iris, 5)
    settings = ServeSettings(grpc_threads=1, max_queue=2)
    with grpc_serving(plane_of(iris, max_queue=2), settings=settings) as (channel, _):
        calls = [infer_later(channel, timeout=10) for _ in range(9)]
        wait_until(lambda: sum(call.done() for call in calls) >= 6)
        runtime.gate.set()
        codes = [call.code() for call in calls]
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 6
    assert codes.count(grpc.StatusCode.OK) == 3


@pytest.mark.parametrize("name", ["x" * 100_000, "모델" * 50_000])
def test_a_long_text_of_an_error_is_cut_and_keeps_its_status(iris, name):
    with grpc_serving(plane_of(iris)) as (channel, _), pytest.raises(grpc.RpcError) as refused:
        ask(channel, "ModelReady", name=name)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details().startswith(f"model `{name[:100]}")


def connection_states(channel: grpc.Channel) -> list[grpc.ChannelConnectivity]:
    """Return the states that the connection of a channel goes through, as they come."""
    states: list[grpc.ChannelConnectivity] = []
    channel.subscribe(states.append, try_to_connect=True)
    wait_until(lambda: grpc.ChannelConnectivity.READY in states)
    return states


@pytest.mark.slow
def test_a_connection_ends_at_its_age_and_calls_go_on(iris):
    settings = ServeSettings(grpc_max_connection_age_s=1)
    with grpc_serving(plane_of(iris), settings=settings) as (channel, _):
        states = connection_states(channel)
        wait_until(lambda: states[-1] is grpc.ChannelConnectivity.IDLE)
        assert ask(channel, "ServerLive")[0].live


@pytest.mark.slow
@pytest.mark.parametrize(("interval_s", "stays"), [(60, False), (0, True)])
def test_a_client_that_pings_more_than_the_setting_is_cut_off(iris, interval_s, stays):
    settings = ServeSettings(grpc_min_ping_interval_s=interval_s)
    pings = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with grpc_serving(plane_of(iris), settings=settings, options=pings) as (channel, _):
        states = connection_states(channel)
        if stays:
            time.sleep(1)  # Ten pings, of which nothing is to be seen.
            assert states[-1] is grpc.ChannelConnectivity.READY
        else:
            wait_until(lambda: states[-1] is not grpc.ChannelConnectivity.READY)
