"""Clients that send slowly, stop half way, or end their side of the connection."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import BODY, SETTINGS, is_correct, request
from support.waiting import wait_until
from support.wire import Listening, listening

CHUNKED = (
    b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (
        len(BODY),
        BODY,
    )
)
HEALTH = request(b"", "/health", "GET")


@contextlib.contextmanager
def serving(served, **changes: float) -> Iterator[Listening]:
    limits = {**SETTINGS, **changes}
    with listening(hosted(served, **limits).app, ServeSettings(**limits), fast=True) as host:
        yield host


@pytest.mark.slow
@pytest.mark.parametrize("whole", [request(x_slow="yes"), CHUNKED, request(path="/predict?slow=1")])
def test_a_request_may_take_longer_to_arrive_than_its_deadline(served, expected, whole):
    with serving(served, deadline_s=0.2, client_timeout_s=20.0) as host, host.wire() as wire:
        for _ in range(2):  # The second time its head is known.
            for part in (whole[:-12], whole[-12:-6]):
                wire.send(part)
                host.wait_read(wire)
                time.sleep(0.3)
            wire.send(whole[-6:])
            assert is_correct(wire.answer(), expected)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [request(x_stops="yes"), CHUNKED, request(path="/predict?stops=1")])
@pytest.mark.parametrize("knows_head", [False, True])
def test_a_sender_that_stops_is_408_counted_and_logged(fast_host, expected, caplog, whole, knows_head):
    counted = fast_host.app.metrics.counters("", 0, "http").statuses
    before = counted.get(408, 0)
    with fast_host.wire() as half, caplog.at_level(logging.WARNING):
        if knows_head:
            half.send(whole * 2)
            assert is_correct(half.answer(), expected)
            assert is_correct(half.answer(), expected)
        half.send(whole[:-8])
        with fast_host.wire() as wire:
            wire.send(request())
            assert is_correct(wire.answer(), expected)
        answer = half.answer()
        assert answer.status == 408
        assert "expected all of it within 1 s" in answer.json()["error"]
        assert answer.headers["connection"] == "close"
        half.send(whole[-8:] + whole)  # Too late: dropped, and not answered.
        assert half.is_closed()
    assert fast_host.app.metrics.counters("", 0, "http").statuses[408] == before + 1
    assert any("127.0.0.1: 408, request: expected" in record.getMessage() for record in caplog.records)


@pytest.mark.slow
def test_a_head_that_does_not_end_is_408(fast_host):
    with fast_host.wire() as half:
        half.send(request()[:20])
        assert half.answer().status == 408
        assert half.is_closed()


@pytest.mark.slow
def test_a_sender_is_not_too_slow_while_its_bytes_come_at_the_least_rate(served, expected):
    whole = request(BODY + b" " * 4000)
    with serving(served, client_timeout_s=0.2, client_min_rate=2000) as host, host.wire() as wire:
        for start in range(0, len(whole), 500):
            wire.send(whole[start : start + 500])
            time.sleep(0.1)  # 5,000 bytes a second, and nearly a second in all.
        assert is_correct(wire.answer(), expected)
    with serving(served, client_timeout_s=0.2, client_min_rate=20_000) as host, host.wire() as wire:
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(whole), 500):
                wire.send(whole[start : start + 500])
                time.sleep(0.1)
        assert wire.answer().status == 408


@pytest.mark.slow
def test_curl_sees_why_its_slow_upload_was_cut_off(served):
    with serving(served, client_timeout_s=0.3, client_min_rate=100_000, max_body_bytes=2**20) as host:
        url = "http://{}:{}/predict".format(*host.address)
        command = ["curl", "-sS", "--limit-rate", "20k", "--data-binary", "@-", "-w", r"\n%{http_code}", url]
        ended = subprocess.run(command, input=BODY + b" " * 200_000, capture_output=True, check=False)
        assert ended.stdout.endswith(b"408")


@pytest.mark.parametrize(
    "whole", [request(), CHUNKED, request(path="/predict?ends=1"), HEALTH, request() + HEALTH + request()]
)
def test_a_client_that_has_shut_down_its_sending_side_is_still_answered(fast_host, expected, whole):
    for _ in range(20):
        with fast_host.wire() as wire:
            wire.send(whole)
            wire.socket.shutdown(socket.SHUT_WR)
            for part in (
                (whole,) if whole != request() + HEALTH + request() else (request(), HEALTH, request())
            ):
                while (answer := wire.answer()).status == 100:
                    pass
                assert answer.json()["health"] == "ok" if part == HEALTH else is_correct(answer, expected)
            assert wire.is_closed()


@pytest.mark.slow
@pytest.mark.parametrize("whole", [request(), CHUNKED, request(path="/predict?ends=1")])
def test_a_queued_request_of_a_client_that_has_shut_down_its_sending_side_is_answered(
    served, waiting_version, runtime, expected, whole
):
    with serving(waiting_version, deadline_s=10.0) as host, host.wire() as wire:
        wire.send(whole)
        assert runtime.entered.wait(10)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.answer().status == 100  # By which a client that has gone would be noticed.
        time.sleep(0.3)  # Three sweeps of the connection.
        runtime.gate.set()
        assert is_correct(wire.answer(), expected)
        assert wire.is_closed()


def test_half_a_request_before_the_end_of_the_clients_side_closes_the_connection(fast_host, expected):
    for whole in (request(), CHUNKED, request() + CHUNKED):
        with fast_host.wire() as wire:
            wire.send(whole[:-3])
            wire.socket.shutdown(socket.SHUT_WR)
            if whole.count(b"POST") == 2:
                assert is_correct(wire.answer(), expected)
            assert wire.is_closed()
    wait_until(lambda: not fast_host.connections)


# `/predict?…` is answered by a task, which begins after the whole of the read has been parsed.
@pytest.mark.parametrize("before", [request(path="/predict?task=1"), CHUNKED, HEALTH + CHUNKED])
def test_no_refusal_overtakes_the_answer_of_a_task(fast_host, before):
    with fast_host.wire() as wire:
        wire.send(before + b"nonsense\r\n\r\n")
        for _ in range(before.count(b" HTTP/1.1\r\n")):
            assert wire.answer().status == 200
        assert wire.is_closed()


def test_half_a_request_behind_others_is_refused_after_their_answers(waiting_version, runtime, expected):
    with serving(waiting_version, deadline_s=10.0) as host, host.wire() as wire:
        wire.send(request() + CHUNKED[:-9] + b"nonsense\r\n\r\n")
        assert runtime.entered.wait(10)
        runtime.gate.set()
        assert is_correct(wire.answer(), expected)
        assert wire.answer().status == 400
        assert wire.is_closed()


def test_the_log_of_refusals_has_a_limit(served, caplog):
    with serving(served) as host, caplog.at_level(logging.WARNING):
        for _ in range(50):
            with host.wire() as wire:
                wire.send(b"nonsense\r\n\r\n")
                assert wire.answer().status == 400
        lines = [record.getMessage() for record in caplog.records if "127.0.0.1: 400" in record.getMessage()]
        assert len(lines) == 10
        host.run_in_loop(host.stage.refusals.tick, host.stage.now + 11)
        assert "40 more refusals of connections in 10 s" in caplog.text
