"""What the connections of one event loop share: the stage they are answered in, routes, and cached heads."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import pytest

from lading.server.exchange import Exchange, Pipeline, Steps
from lading.server.http.stage import Head, Stage
from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import (
    BODY,
    SETTINGS,
    ask_in_one_stage,
    is_correct,
    request,
    send_in_pieces,
    sent_in_one_stage,
)
from support.waiting import wait_until
from support.wire import Listening, listening

LABEL = b'{"instances":[[5.1,3.5,1.4,0.2]],"params":{"outputs":["label"]}}'


def test_requests_for_named_outputs_run_in_one_stage_with_others(fast_host, expected):
    named = request(LABEL, "/invocations", content_type="application/json")
    answers = ask_in_one_stage(fast_host, request(), named, request(), named)
    assert [answer.status for answer in answers] == [200, 200, 200, 200]
    assert is_correct(answers[0], expected)
    assert answers[1].json() == answers[3].json()


@pytest.mark.parametrize("known", [True, False])
def test_pipelined_requests_of_several_connections_are_answered_in_order(fast_host, served, known):
    def pipelined(connection: int) -> bytes:
        head = {} if known else {"x_new": str(connection)}
        rows = [b"[[%d.5,3.5,1.4,0.2]]" % connection, b'"bad"', b'"bad"', b"[[1.0,2.0,3.0,4.0]]"]
        requests = [request(b'{"data":%b}' % row, **head) for row in rows]
        return b"".join([*requests, request(b"", "/health", "GET"), request(connection="close", **head)])

    def prediction(*row: float) -> list[float]:
        return served.run({"X": np.array([row], np.float32)})["probabilities"][0].tolist()

    with sent_in_one_stage(fast_host, *map(pipelined, range(5))) as wires:
        for connection, wire in enumerate(wires):
            first, bad, bad_as_well, second, health, last = (wire.answer() for _ in range(6))
            assert is_correct(first, prediction(connection + 0.5, 3.5, 1.4, 0.2))
            assert (bad.status, bad_as_well.status) == (400, 400)
            assert is_correct(second, prediction(1, 2, 3, 4))
            assert health.json()["health"] == "ok"
            assert is_correct(last, prediction(5.1, 3.5, 1.4, 0.2))
            assert last.headers["connection"] == "close"
            assert wire.is_closed()


def test_a_request_that_closes_its_connection_is_answered_after_those_before_it(fast_host, expected):
    pipelined = request() + request() + request(connection="close")
    with sent_in_one_stage(fast_host, pipelined, pipelined) as wires:
        for wire in wires:
            assert [is_correct(wire.answer(), expected) for _ in range(3)] == [True] * 3
            assert wire.is_closed()


def heads_of(host: Listening) -> Mapping[bytes, Head]:
    return host.stage.heads


@pytest.mark.parametrize(
    "unfit",
    [
        request(connection="close", x_unfit="closes"),
        request(version="1.0", x_unfit="old"),
        request(path="/predict?trace=1", x_unfit="not on a fast route"),
        request(x_unfit="long" * 300),
        request(x_unfit="more behind it") + b"\r\n",
        b"\r\n" + request(x_unfit="more before it") + request(x_unfit="and another"),
    ],
)
def test_only_the_head_of_a_single_request_on_a_fast_route_is_cached(fast_host, expected, unfit):
    with fast_host.wire() as wire:
        wire.send(unfit)
        assert is_correct(wire.answer(), expected)
    assert not [head for head in heads_of(fast_host) if b"x-unfit" in head]


def test_a_head_that_arrives_in_two_pieces_is_not_cached(fast_host, expected):
    data = request(x_unfit="in pieces")
    with fast_host.wire() as wire:
        for cut in (10, len(data) - len(BODY) - 1):
            send_in_pieces(fast_host, wire, data, cut)
            assert is_correct(wire.answer(), expected)
    assert not [head for head in heads_of(fast_host) if b"x-unfit" in head]


@pytest.mark.parametrize(
    "header", ["authorization", "Authorization", "Proxy_Authorization", "cookie", "traceparent"]
)
def test_a_head_with_credentials_or_a_trace_is_not_cached_and_the_connection_goes_on(
    fast_host, expected, header
):
    with_credentials = [request(**{header: f"secret {number}"}) for number in range(3)]
    with fast_host.wire() as wire:
        for data in (*with_credentials, request(), with_credentials[0]):
            wire.send(data)
            assert is_correct(wire.answer(), expected)
        # The same requests without waiting for each other's answers, and in pieces.
        pipelined = with_credentials[0] + request() + with_credentials[1] + request()
        for cuts in ((), (len(with_credentials[0]) - 3,), (20, len(with_credentials[0]) + 20)):
            send_in_pieces(fast_host, wire, pipelined, *cuts)
            assert [is_correct(wire.answer(), expected) for _ in range(4)] == [True] * 4
    assert request()[: -len(BODY)] in heads_of(fast_host)
    assert not [head for head in heads_of(fast_host) if b"secret" in head]
    assert not [head for head in heads_of(fast_host).values() if header.lower().encode() in head.headers]


def test_each_request_of_a_connection_has_its_own_credentials(served):
    credentials: list[bytes | None] = []

    def note(exchange: Exchange) -> None:
        credentials.append(exchange.headers.get(b"authorization"))

    app = hosted(served, **SETTINGS).app
    app.pipeline = Pipeline(app.plane, app.metrics, Steps(authorise=(note,)))
    with listening(app, ServeSettings(**SETTINGS), fast=True) as host, host.wire() as wire:
        for headers in ({}, {"authorization": "Bearer a"}, {}, {"authorization": "Bearer b"}, {}):
            wire.send(request(**headers))
            assert wire.answer().status == 200
    assert credentials == [None, b"Bearer a", None, b"Bearer b", None]


def test_only_so_many_heads_are_cached(fast_host):
    with fast_host.wire() as wire:
        for number in range(1200):
            wire.send(request(x_number=str(number)))
            assert wire.answer().status == 200
            assert len(heads_of(fast_host)) <= 512
    assert heads_of(fast_host)


def test_a_connection_made_before_the_first_tick_is_idle_from_its_beginning(served, monkeypatch):
    monkeypatch.setattr(Stage, "tick", lambda *_: None)
    settings = {**SETTINGS, "keep_alive_s": 50.0}
    app = hosted(served, **settings).app
    with listening(app, ServeSettings(**settings), fast=True) as host, host.wire() as wire:
        wait_until(lambda: host.connections)
        (connection,) = host.connections
        now = host.loop.time()
        host.run_in_loop(connection.sweep, now)
        assert connection in host.connections
        host.run_in_loop(connection.sweep, now + 100)
        assert wire.is_closed()


def test_a_defect_of_ours_is_logged_as_one_and_not_as_the_clients(served, caplog, monkeypatch):
    app = hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=True) as host:
        monkeypatch.setattr(host.stage, "find", lambda *_: 1 / 0)
        with host.wire() as wire, contextlib.suppress(ConnectionError):
            wire.send(request())
            assert wire.is_closed()
    assert "a connection failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "not HTTP" not in caplog.text
