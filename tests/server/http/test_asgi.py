"""Requests that are answered under ASGI: by a server with fast routes as well as under plain uvicorn."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import BODY, SETTINGS, is_correct, request
from support.waiting import wait_until
from support.wire import Listening, listening

ASGI_PATH = "/predict?trace=1"
"""A fast route with a query, which is left to ASGI."""

CHUNKED = b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(params=["fast", "asgi"])
def waiting_host(request, waiting_version, runtime) -> Iterator[Listening]:
    """A server over a model whose runs wait."""
    settings = {**SETTINGS, "deadline_s": 10.0}
    app = hosted(waiting_version, **settings).app
    with listening(app, ServeSettings(**settings), fast=request.param == "fast") as host:
        yield host
        runtime.gate.set()


def test_a_client_that_goes_leaves_the_queue(waiting_host, waiting_version, runtime):
    def wait_depth(depth: int) -> None:
        wait_until(lambda: waiting_host.app.plane.depth(waiting_version) == depth)

    with waiting_host.wire() as first, waiting_host.wire() as last:
        first.send(request(path=ASGI_PATH))
        assert runtime.entered.wait(10)
        with waiting_host.wire() as gone:
            gone.send(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
            wait_depth(1)
        wait_depth(0)
        last.send(request(path=ASGI_PATH))
        wait_depth(1)
        runtime.gate.set()
        assert first.answer().status == last.answer().status == 200
    assert runtime.rows == [1, 1]


def test_a_client_that_goes_before_its_body_is_complete_is_no_error(waiting_host, runtime, caplog):
    runtime.gate.set()
    with caplog.at_level(logging.INFO), waiting_host.wire() as other:
        with waiting_host.wire() as gone:
            gone.send(CHUNKED + b"5\r\n{")
            waiting_host.wait_read(gone)
        other.send(request())
        assert other.answer().status == 200
        wait_until(lambda: len(waiting_host.connections) == 1)
        wait_until(lambda: not waiting_host.server.server_state.tasks)
    assert "Exception" not in caplog.text
    assert runtime.rows == [1]
    assert waiting_host.app.metrics.counters("iris", 1, "native").statuses == {200: 1}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413_and_others_see_no_error(host, expected, chunked):
    big = b"[" * 5000
    data = CHUNKED + b"%x\r\n%b\r\n" % (len(big), big) if chunked else request(big)
    with host.wire() as other, host.wire() as wire:
        wire.send(data)
        answer = wire.answer()
        assert answer.status == 413
        assert answer.json()["code"] == "BodyTooLarge"
        other.send(request())
        assert is_correct(other.answer(), expected)


def test_a_client_that_sends_all_of_a_refused_body_before_it_reads_sees_the_answer(host, expected):
    with host.wire() as wire:
        wire.send(request(b"[" * 20_000_000))  # Far more than the sockets between hold.
        answer = wire.answer()
        assert (answer.status, answer.json()["code"]) == (413, "BodyTooLarge")
        assert wire.is_closed()
    with host.wire() as wire:  # The same from a client that has asked whether it may send.
        wire.send(b"POST /predict HTTP/1.1\r\nhost: lading\r\nexpect: 100-continue\r\n")
        wire.send(b"transfer-encoding: chunked\r\n\r\n")
        assert wire.answer().status == 100
        wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (20_000_000, b"[" * 20_000_000))
        assert wire.answer().status == 413
    with host.wire() as other:
        other.send(request())
        assert is_correct(other.answer(), expected)
