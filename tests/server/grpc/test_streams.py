"""Streams of predictions over real sockets: order, errors, limits, clients that go, a server that stops."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from lading.server.exchange import Pipeline
from lading.server.grpc import descriptors
from lading.server.grpc.server import GrpcServer
from lading.server.metrics import Metrics
from lading.server.process.grpc_listener import services
from lading.settings import ServeSettings
from support.grpc_client import OIP, grpc_serving, one_row, plane_of
from support.hosted_app import gated
from support.waiting import wait_until


class Client:
    """One stream: what is `put` is sent, and the stream is itself the answers."""

    def __init__(self, channel: grpc.Channel, **options: Any) -> None:
        request = descriptors.message("oip", "inference.ModelInferRequest")
        response = descriptors.message("oip", "inference.ModelStreamInferResponse")
        self._sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._make = request
        method = channel.stream_stream(
            f"/{OIP}/ModelStreamInfer", request.SerializeToString, response.FromString
        )
        self.call = method(iter(self._sent.get, None), timeout=10, **options)

    def ask(self, **fields: Any) -> Any:
        self._sent.put(self._make(**fields))
        return next(self.call)

    def end(self) -> list[Any]:
        self._sent.put(None)
        return list(self.call)


def test_each_message_is_answered_and_an_error_does_not_end_the_stream(iris):
    with grpc_serving(plane_of(iris)) as (channel, metrics):
        client = Client(channel)
        for number, rows in enumerate((1, 3)):
            answer = client.ask(**one_row(rows=rows), id=str(number))
            assert answer.error_message == ""
            response = answer.infer_response
            assert response.id == str(number)
            assert list(response.outputs[1].shape) == [rows, 3]
            facts = {name: value.string_param for name, value in response.parameters.items()}
            assert facts["x-lading-model"] == "iris:3"
            assert facts["x-lading-digest"] == iris.digest
            assert facts["x-request-id"]
            assert response.parameters["triton_final_response"].bool_param
        refused = client.ask(**one_row("wine"), id="2")
        assert "`wine`" in refused.error_message
        assert refused.infer_response.id == "2"
        assert client.ask(**one_row()).error_message == ""
        assert client.end() == []
        assert metrics.counters("iris", 3, "oip-grpc").statuses == {"OK": 3}
        assert metrics.counters("", 0, "oip-grpc").statuses == {"NOT_FOUND": 1}


def test_the_id_of_a_stream_is_numbered_for_its_messages(iris):
    with grpc_serving(plane_of(iris)) as (channel, _):
        client = Client(channel, metadata=(("x-request-id", "mine"),))
        ids = [client.ask(**one_row()).infer_response.parameters["x-request-id"] for _ in range(2)]
        assert [id.string_param for id in ids] == ["mine-1", "mine-2"]
        client.end()


def test_open_streams_take_no_threads(iris):
    settings = ServeSettings(grpc_threads=1)
    with grpc_serving(plane_of(iris), settings=settings) as (channel, _):
        clients = [Client(channel) for _ in range(20)]
        for _ in range(2):
            for client in clients:
                assert client.ask(**one_row()).error_message == ""
            assert channel.unary_unary(f"/{OIP}/ServerLive")(b"", timeout=5)
        for client in clients:
            assert client.end() == []


def test_a_stream_whose_client_goes_cancels_its_job_and_frees_its_place(iris, caplog):
    runtime = gated(iris, 30)
    with grpc_serving(plane_of(iris), settings=ServeSettings(grpc_threads=1)) as (channel, metrics):
        client = Client(channel)
        threading.Thread(target=lambda: list(failures(client, **one_row()))).start()
        assert runtime.entered.wait(5)
        client.call.cancel()
        runtime.gate.set()
        wait_until(lambda: metrics.counters("iris", 3, "oip-grpc").statuses)
        again = Client(channel)
        assert again.ask(**one_row()).error_message == ""
        again.end()
    assert not caplog.records


def test_a_server_that_stops_ends_streams_that_wait_and_answers_what_it_has(iris):
    runtime = gated(iris, 30)
    plane = plane_of(iris)
    server = GrpcServer(Pipeline(plane, Metrics(plane)), ServeSettings(), tuple(services()))
    port = server.start("127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        runtime.gate.set()
        idle, busy = Client(channel), Client(channel)
        for client in (idle, busy):
            client.ask(**one_row())
        runtime.gate = threading.Event()
        runtime.entered.clear()
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(busy.ask(**one_row())))
        asking.start()
        assert runtime.entered.wait(5)
        stopping = threading.Thread(target=server.stop, args=(60,))
        stopping.start()
        assert next(failures(idle)).code() is grpc.StatusCode.CANCELLED
        runtime.gate.set()
        for thread in (asking, stopping):
            thread.join(10)
            assert not thread.is_alive()
        assert answers[0].error_message == ""


def failures(client: Client, **fields: Any) -> Iterator[Any]:
    with pytest.raises(grpc.RpcError) as error:
        _ = client.ask(**fields) if fields else next(client.call)
    yield error.value
