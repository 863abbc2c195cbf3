"""Connections: how long they stay, what they are refused, and clients that are slow or gone."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lading.server.http.messages import Request
from lading.server.inference.version import ServedVersion
from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import BODY, SETTINGS, is_correct, request
from support.waiting import wait_until
from support.wire import Listening, Wire, listening


@pytest.mark.slow
def test_each_of_200_connections_gets_its_own_answers(host, served):
    rows = np.random.default_rng(0).uniform(0, 8, (200, 4)).astype(np.float32)
    wires = [Wire(host.address) for _ in rows]
    for _ in range(5):
        for wire, row in zip(wires, rows.tolist(), strict=True):
            wire.send(request(json.dumps({"data": [row]}).encode()))
        for wire, row in zip(wires, rows, strict=True):
            expected = served.run({"X": row[None]})["probabilities"][0].tolist()
            assert is_correct(wire.answer(), expected)
    for wire in wires:
        wire.close()


@pytest.mark.slow
def test_an_idle_connection_is_closed_after_its_keep_alive(host):
    with host.wire() as wire:
        wire.send(request())
        wire.answer()
        wire.socket.settimeout(5)
        assert wire.is_closed()


def test_a_reset_connection_disturbs_no_other(host, expected):
    for sent_bytes in (5, 60, len(request()) - 1, len(request())):
        wire = Wire(host.address)
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        wire.send(request()[:sent_bytes])
        wire.close()
    with host.wire() as wire:
        wire.send(request())
        assert is_correct(wire.answer(), expected)


@pytest.mark.slow
def test_ten_thousand_connections_in_a_row_leave_none_open(host, expected):
    for _ in range(10_000):
        with host.wire() as wire:
            wire.send(request(connection="close"))
            assert wire.answer().status == 200
    wait_until(lambda: len(host.connections) <= 2, within_s=5)


@pytest.mark.slow
def test_a_client_that_reads_late_gets_everything(host):
    rows = [[1.0, 2.0, 3.0, 4.0]] * 150
    body = json.dumps({"data": rows}, separators=(",", ":")).encode()
    count = 1000
    with host.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        sender = threading.Thread(target=lambda: wire.send(request(body, "/models/iris/predict") * count))
        sender.start()
        wait_until(lambda: len(host.connections) == 1)
        (connection,) = host.connections
        wait_until(lambda: connection.flow.write_paused)
        for _ in range(count):
            assert len(wire.answer().json()["prediction"]) == 150
        sender.join(5)


def test_headers_without_end_are_refused(fast_host):
    with fast_host.wire() as wire:
        wire.send(b"POST /predict HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(1000):
                wire.send(b"x-%d: %b\r\n" % (number, b"x" * 1000))
        with contextlib.suppress(ConnectionError):
            assert b" 431 " in wire.file.readline()
    with fast_host.wire() as wire:
        wire.send(b"GET /" + b"x" * 30_000)
        fast_host.wait_read(wire)
        wire.send(b"x" * 70_000)
        assert wire.answer().status == 431
        assert wire.is_closed()
    with fast_host.wire() as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.answer().status == 400
    counted = fast_host.app.metrics.counters("", 0, "http").statuses
    assert counted[431] == 2
    assert counted[400] >= 1


@pytest.mark.slow
def test_trailers_without_end_are_refused(fast_host, expected):
    with fast_host.wire() as wire:
        wire.send(b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n")
        wire.send(b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY))
        with contextlib.suppress(ConnectionError):
            until = time.monotonic() + 10
            while time.monotonic() < until:
                wire.send(b"x: %b\r\n" % (b"x" * 1000))
            pytest.fail("the trailers were read without end")
    with fast_host.wire() as wire:
        wire.send(request())
        assert is_correct(wire.answer(), expected)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-subj", "/CN=lading.test", "-addext", "subjectAltName=DNS:lading.test", "-days", "1"]
    subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.mark.slow  # Needs the program `openssl`, which `scripts/services` installs.
@pytest.mark.parametrize("fast", [True, False])
def test_requests_are_answered_over_tls(served, expected, certificate, fast):
    app = hosted(served, **SETTINGS).app
    trusts = ssl.create_default_context(cafile=str(certificate))
    with listening(app, ServeSettings(**SETTINGS), fast=fast, certificate=certificate) as host:
        wire = Wire(host.address, trusts)
        wire.send(request() * 10 + request(b"", "/health", "GET"))
        for _ in range(10):
            assert is_correct(wire.answer(), expected)
        assert wire.answer().json()["health"] == "ok"
        wire.send(request(connection="close"))
        assert is_correct(wire.answer(), expected)
        assert wire.is_closed()
        wire.close()
        with host.wire() as plain:  # A client that does not speak TLS disturbs no other.
            plain.send(request())
            with contextlib.suppress(ConnectionError):
                assert plain.is_closed()
        again = Wire(host.address, trusts)
        again.send(request())
        assert is_correct(again.answer(), expected)
        again.close()


@pytest.mark.parametrize("fast", [True, False])
def test_a_request_half_received_at_shutdown_is_still_answered(served, expected, fast):
    app = hosted(served, **SETTINGS).app
    whole = request()
    with listening(app, ServeSettings(**SETTINGS), fast=fast) as host, host.wire() as wire:
        wire.send(whole[:-10])
        host.wait_read(wire)
        host.begin_shutdown()
        wire.send(whole[-10:])
        assert is_correct(wire.answer(), expected)
        assert wire.is_closed()


def test_a_request_with_a_cached_head_half_received_at_shutdown_is_still_answered(served, expected):
    whole, app = request(x_half="there"), hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=True) as host, host.wire() as wire:
        for _ in range(2):
            wire.send(whole)
            assert is_correct(wire.answer(), expected)
        wire.send(whole[:-5])
        host.wait_read(wire)
        host.begin_shutdown()
        wire.send(whole[-5:])
        answer = wire.answer()
        assert is_correct(answer, expected)
        assert answer.headers["connection"] == "close"


@pytest.fixture
def waiting_host(waiting_version) -> Iterator[Listening]:
    """A server with fast routes over a model whose runs wait."""
    settings = {**SETTINGS, "deadline_s": 10.0, "keep_alive_s": 1.0}
    with listening(hosted(waiting_version, **settings).app, ServeSettings(**settings), fast=True) as host:
        yield host


def test_the_refusal_of_invalid_bytes_does_not_overtake_the_answer_before_them(
    waiting_host, runtime, expected
):
    with waiting_host.wire() as wire:
        wire.send(request() + b"nonsense\r\n\r\n")
        waiting_host.wait_read(wire)
        runtime.gate.set()
        answer = wire.answer()
        assert is_correct(answer, expected)
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


@pytest.mark.slow
def test_keep_alive_closes_no_connection_that_waits_for_an_answer(waiting_host, runtime, expected):
    with waiting_host.wire() as wire:
        wire.send(request() + request(path="/predict?trace=1") + request())
        assert runtime.entered.wait(10)
        runtime.release_entered()
        assert is_correct(wire.answer(), expected)
        time.sleep(1.2)  # Longer than `keep_alive_s`, of which uvicorn and the sweep have a clock each.
        runtime.gate.set()
        assert is_correct(wire.answer(), expected)
        assert is_correct(wire.answer(), expected)


@pytest.mark.slow
def test_a_connection_keeps_nothing_of_an_answered_request(waiting_host, runtime, expected):
    runtime.gate.set()
    gc.collect()
    gc.disable()
    try:
        with waiting_host.wire() as wire, waiting_host.wire() as gone:
            gone.send(request())
            wire.send(request())
            assert is_correct(wire.answer(), expected)
            gone.close()
            wait_until(lambda: not any(isinstance(item, Request) for item in gc.get_objects()), within_s=2)
    finally:
        gc.enable()


@pytest.fixture(params=["fast", "asgi"])
def busy_host(request, waiting_version, runtime) -> Iterator[Listening]:
    """A server over a model whose runs wait, with room for one request in its queue."""
    settings = {**SETTINGS, "max_queue": 1}
    app = hosted(waiting_version, **settings).app
    with listening(app, ServeSettings(**settings), fast=request.param == "fast") as host:
        yield host
        runtime.gate.set()


def wait_depth(host: Listening, version: ServedVersion, depth: int) -> None:
    wait_until(lambda: host.app.plane.depth(version) == depth)


@pytest.mark.slow
def test_a_job_past_its_deadline_is_504_and_others_are_answered_meanwhile(busy_host, runtime):
    with busy_host.wire() as wire, busy_host.wire() as other:
        began = time.monotonic()
        wire.send(request())
        assert runtime.entered.wait(10)
        other.send(request(b"", "/health", "GET"))
        assert other.answer().status == 200
        assert not wire.has_answer()
        answer = wire.answer()
        assert answer.status == 504
        assert "within 1 s" in answer.json()["error"]
        assert time.monotonic() - began > 0.9


def test_a_full_queue_is_429_with_retry_after(busy_host, waiting_version, runtime, expected):
    with busy_host.wire() as running, busy_host.wire() as queued, busy_host.wire() as refused:
        running.send(request())
        assert runtime.entered.wait(10)
        queued.send(request())
        wait_depth(busy_host, waiting_version, 1)
        refused.send(request())
        answer = refused.answer()
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) >= 1
        runtime.gate.set()
        assert is_correct(running.answer(), expected)
        assert is_correct(queued.answer(), expected)


def test_a_client_that_disconnects_frees_its_place_in_the_queue(
    busy_host, waiting_version, runtime, expected
):
    with busy_host.wire() as running, busy_host.wire() as following:
        running.send(request())
        assert runtime.entered.wait(10)
        with busy_host.wire() as gone:
            gone.send(request())
            wait_depth(busy_host, waiting_version, 1)
        wait_depth(busy_host, waiting_version, 0)
        following.send(request())
        wait_depth(busy_host, waiting_version, 1)
        runtime.gate.set()
        assert is_correct(running.answer(), expected)
        assert is_correct(following.answer(), expected)
