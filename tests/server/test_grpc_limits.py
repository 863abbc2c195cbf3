"""What gRPC keeps within bounds: calls that wait for a thread, and what an error says."""

from __future__ import annotations

import threading
import time

import grpc
import pytest

from hosting import served_from, slow
from lading.server.grpc import messages
from lading.server.grpc.calls import CallThreads
from lading.server.states import Served
from lading.settings import ServeSettings
from making import linear_bundle
from test_grpc import OIP, ask, grpc_serving, one_row, plane_of


@pytest.fixture
def iris(tmp_path) -> Served:
    return served_from(linear_bundle(tmp_path / "iris"), 3)


def test_calls_that_find_no_thread_do_not_wait_without_limit(iris):
    go = slow(iris, 5)
    settings = ServeSettings(grpc_threads=1, max_queue=2)
    text = messages.message("oip", "inference.ModelInferRequest")(**one_row()).SerializeToString()
    with grpc_serving(plane_of(iris, max_queue=2), settings=settings) as (channel, _):
        calls = [channel.unary_unary(f"/{OIP}/ModelInfer").future(text, timeout=10) for _ in range(9)]
        while sum(call.done() for call in calls) < 6:
            time.sleep(0.01)
        go.set()
        codes = [call.code() for call in calls]
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 6
    assert codes.count(grpc.StatusCode.OK) == 3


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
