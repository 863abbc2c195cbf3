"""Requests in flight share one budget of memory: what does not fit is refused, and all others go on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import httpx
import numpy as np
import pytest

from lading.server.inference.request_memory import RequestMemory
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.grpc_client import ask
from support.hosted_app import hosted, served_from
from support.http_requests import SETTINGS, request
from support.server_process import ServerProcess, serving
from support.waiting import wait_until
from support.wire import Listening, listening

ROW = [5.1, 3.5, 1.4, 0.2]
BODY = json.dumps({"data": [ROW] * 3000}).encode()  # 72 kB
LIMITS = {**SETTINGS, "max_body_bytes": 200_000, "deadline_s": 30.0, "client_timeout_s": 30.0}


@pytest.fixture(params=[True, False], ids=["fast", "asgi"])
def host(request, tmp_path) -> Iterator[Listening]:
    """Serve iris with room for one large body at a time."""
    app = hosted(served_from(linear_bundle(tmp_path / "iris")), **LIMITS).app
    app.plane.memory = RequestMemory(300_000)
    with listening(app, ServeSettings(**LIMITS), fast=request.param) as listener:
        yield listener


def statuses(host: Listening, *bodies: bytes) -> list[int]:
    """Send each body over a connection of its own, one after the other."""
    answers = []
    for body in bodies:
        with host.wire() as wire:
            wire.send(body)
            answers.append(wire.answer().status)
    return answers


def test_a_body_that_has_no_room_is_refused_and_small_requests_go_on(host):
    large, health = request(BODY), request(b"", "/health", "GET")
    assert statuses(host, large) == [200]
    with host.wire() as slow:
        slow.send(large[: len(large) // 2])
        host.wait_read(slow)
        with host.wire() as late:
            late.send(large)
            answer = late.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "memory for requests in flight" in answer.json()["error"]
        assert statuses(host, request(), health, request()) == [200] * 3
    # The client has gone, and with it what was received.
    wait_until(lambda: host.app.plane.memory.used_bytes == 0)
    assert statuses(host, large, large) == [200, 200]


def test_the_head_of_a_large_request_is_remembered_and_its_memory_asked_for_each_time(host):
    large = request(BODY)
    with host.wire() as wire:
        for cut in (len(large), 5000, len(large), 5000):
            for part in (large[:cut], large[cut:]):
                wire.send(part)
                host.wait_read(wire)
            assert len(wire.answer().json()["prediction"]) == 3000
            wait_until(lambda: host.app.plane.memory.used_bytes == 0)
        if host.stage is not None:
            assert host.stage.heads[large[: -len(BODY)]].body_bytes == len(BODY)
        host.app.plane.memory = RequestMemory(30_000)
        wire.send(large)
        assert wire.answer().status == 413


def test_a_body_in_chunks_is_counted_as_it_comes(host):
    head = b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (40_000, BODY[:40_000])
    with host.wire() as slow:
        slow.send(head + chunk)
        wait_until(lambda: host.app.plane.memory.used_bytes >= 30_000)
        assert statuses(host, request(BODY)) == [503]
        slow.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 40_000, BODY[40_000:]))
        assert slow.answer().status == 200
    wait_until(lambda: host.app.plane.memory.used_bytes == 0)


def test_nothing_stays_counted_after_answers_and_refusals(host):
    bad = request(BODY[:-2])
    gone = request(BODY, "/models/nobody/predict")
    assert statuses(host, request(BODY), bad, gone) == [200, 400, 404]
    wait_until(lambda: host.app.plane.memory.used_bytes == 0)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    """Serve iris with 1 MB for requests and 20 kB for an answer."""
    bundle = linear_bundle(tmp_path_factory.mktemp("memory") / "iris")
    flags = ("--request-memory-mb", "1", "--max-answer-bytes", "20000", "--grpc-port", "0")
    with serving(bundle.path, flags=flags) as process:
        yield process


def infer(server: ServerProcess, rows: int) -> grpc.StatusCode:
    values = np.ones((rows, 4), np.float32)
    tensor = {"name": "X", "datatype": "FP32", "shape": values.shape}
    with grpc.insecure_channel(server.grpc_target()) as channel:
        try:
            fields = {"inputs": [tensor], "raw_input_contents": [values.tobytes()]}
            ask(channel, "ModelInfer", model_name="iris", **fields)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.mark.slow
def test_an_answer_of_too_many_bytes_is_refused_over_every_transport(server):
    few, many = ({"data": [ROW] * rows} for rows in (600, 2000))  # 12 bytes of values a row
    assert httpx.post(f"{server.url}/predict", json=few).status_code == 200
    refused = httpx.post(f"{server.url}/predict", json=many)
    assert refused.status_code == 413
    assert "answer of `iris`: expected at most 20000 bytes of values, found 24000" in refused.json()["error"]
    assert infer(server, 600) is grpc.StatusCode.OK
    assert infer(server, 2000) is grpc.StatusCode.RESOURCE_EXHAUSTED
    page = httpx.get(f"{server.url}/metrics").text
    assert page.count('reason="AnswerTooLarge"') == 2


@pytest.mark.slow
def test_a_message_without_room_is_refused_and_a_small_one_is_answered(server):
    assert infer(server, 30_000) is grpc.StatusCode.RESOURCE_EXHAUSTED  # 480 kB, where 333 kB may arrive
    assert infer(server, 1) is grpc.StatusCode.OK
    page = httpx.get(f"{server.url}/metrics").text
    assert 'reason="RequestTooLarge"' in page
    assert 'lading_worker_request_bytes{worker="0"} 0.0' in page
