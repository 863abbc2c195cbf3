"""What gRPC keeps within bounds: calls that wait for a thread, and what an error says."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from lading.server.grpc import descriptors
from lading.server.grpc.executor import CallThreads
from lading.server.inference.version import ServedVersion
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import OIP, ask, grpc_serving, one_row, plane_of
from support.hosted_app import gated, served_from
from support.waiting import wait_until


@pytest.fixture
def iris(tmp_path) -> ServedVersion:
    return served_from(linear_bundle(tmp_path / "iris"), 3)


def test_calls_that_find_no_thread_do_not_wait_without_limit(iris):
    runtime = gated(iris, 5)
    settings = ServeSettings(grpc_threads=1, max_queue=2)
    text = descriptors.message("oip", "inference.ModelInferRequest")(**one_row()).SerializeToString()
    with grpc_serving(plane_of(iris, max_queue=2), settings=settings) as (channel, _):
        calls = [channel.unary_unary(f"/{OIP}/ModelInfer").future(text, timeout=10) for _ in range(9)]
        wait_until(lambda: sum(call.done() for call in calls) >= 6)
        runtime.gate.set()
        codes = [call.code() for call in calls]
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 6
    assert codes.count(grpc.StatusCode.OK) == 3


def test_reflection_that_stays_open_takes_no_more_than_its_few_threads(iris):
    with grpc_serving(plane_of(iris), settings=ServeSettings(grpc_threads=8)) as (channel, _):
        ask_around = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        done = threading.Event()

        def keep_open() -> Iterator[bytes]:
            yield reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
            done.wait(20)

        streams = [ask_around(keep_open()) for _ in range(12)]
        codes = []
        for stream in streams:
            try:
                next(stream)
            except grpc.RpcError as error:
                codes.append(error.code())
        assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 8
        answer, _ = ask(channel, "ModelInfer", **one_row())
        assert answer.model_name == "iris"
        done.set()
        for stream in streams:
            stream.cancel()
        wait_until(lambda: asked_once(ask_around))


def asked_once(ask_around: grpc.StreamStreamMultiCallable) -> bool:
    one = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    try:
        return bool(list(ask_around(iter([one]))))
    except grpc.RpcError:
        return False


@pytest.mark.parametrize("name", ["x" * 100_000, "모델" * 50_000])
def test_what_names_at_length_what_was_sent_is_cut_and_keeps_its_status(iris, name):
    with grpc_serving(plane_of(iris)) as (channel, _), pytest.raises(grpc.RpcError) as refused:
        ask(channel, "ModelReady", name=name)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details().startswith(f"model `{name[:100]}")


def test_threads_end_while_calls_still_come_and_go():
    for _ in range(200):
        threads, begun = CallThreads(2), threading.Event()
        for _ in range(20):
            threads.submit(begun.wait)
        begun.set()
        threads.stop()
