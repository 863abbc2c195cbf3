"""HTTP as clients speak it, well and badly: one suite over fast routes and over plain ASGI."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from, slow
from support.http_requests import BODY, SETTINGS, is_correct, request
from support.waiting import wait_until
from support.wire import Wire, listening


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("http") / "iris"))


@pytest.fixture(scope="module")
def expected(served):
    return served.run({"X": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)})["probabilities"][0].tolist()


@pytest.fixture(scope="module", params=["fast", "asgi"])
def host(request, served):
    app = hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=request.param == "fast") as where:
        yield where


def test_a_connection_is_kept_for_the_next_request(host, expected):
    with host.wire() as wire:
        for _ in range(3):
            wire.send(request())
            answer = wire.answer()
            assert is_correct(answer, expected)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-lading-model"] == "iris:1"
            assert answer.headers["x-lading-digest"].startswith("sha256:")
            assert answer.headers["date"]


def test_the_caller_s_request_id_comes_back(host):
    with host.wire() as wire:
        wire.send(request(X_Request_ID="caller-7"))
        assert wire.answer().headers["x-request-id"] == "caller-7"
        wire.send(request())
        assert wire.answer().headers["x-request-id"] not in ("", "caller-7")


def test_connection_close_is_honoured(host, expected):
    with host.wire() as wire:
        wire.send(request(connection="close"))
        answer = wire.answer()
        assert is_correct(answer, expected)
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_http_1_0_is_answered_and_closed(host, expected):
    with host.wire() as wire:
        wire.send(request(version="1.0"))
        assert is_correct(wire.answer(), expected)
        assert wire.is_closed()


def test_http_1_0_that_asks_to_be_kept_is_told_that_it_is_not(host, expected):
    with host.wire() as wire:
        wire.send(request(version="1.0", connection="keep-alive"))
        answer = wire.answer()
        assert is_correct(answer, expected)
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_ten_pipelined_requests_are_answered_in_order(host, expected):
    with host.wire() as wire:
        wire.send(b"".join(request(x_request_id=str(at)) for at in range(10)))
        for at in range(10):
            answer = wire.answer()
            assert is_correct(answer, expected)
            assert answer.headers["x-request-id"] == str(at)


def test_hot_and_other_routes_can_be_pipelined_in_any_order(host):
    paths = ["/predict", "/health", "/predict", "/nowhere", "/predict", "/metadata"]
    with host.wire() as wire:
        parts = [
            request(b"", path, "GET", x_request_id=path)
            if path in ("/health", "/metadata")
            else request(path=path, x_request_id=path)
            for path in paths
        ]
        wire.send(b"".join(parts))
        for path in paths:
            answer = wire.answer()
            assert answer.headers["x-request-id"] == path
            assert answer.status == (404 if path == "/nowhere" else 200)


def test_expect_100_continue_is_answered_before_the_body(host, expected):
    with host.wire() as wire:
        whole = request(expect="100-continue")
        head, body = whole[: -len(BODY)], whole[-len(BODY) :]
        wire.send(head)
        assert wire.answer().status == 100
        wire.send(body)
        assert is_correct(wire.answer(), expected)


def test_a_chunked_body_is_read(host, expected):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:20], BODY[20:]))
    head = b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n"
    with host.wire() as wire:
        wire.send(head + chunks + b"0\r\n\r\n")
        assert is_correct(wire.answer(), expected)
        wire.send(request())
        assert is_correct(wire.answer(), expected)


def test_a_request_may_come_byte_by_byte(host, expected):
    with host.wire() as wire:
        for byte in request():
            wire.send(bytes([byte]))
        assert is_correct(wire.answer(), expected)


def test_head_gives_the_headers_of_get(host):
    with host.wire() as wire:
        wire.send(request(b"", "/health", "HEAD"))
        answer = wire.answer(head=True)
        assert answer.status == 200
        assert int(answer.headers["content-length"]) > 0
        wire.send(request(b"", "/health", "GET"))
        assert wire.answer().json()["health"] == "ok"


def test_a_query_does_not_change_the_route(host, expected):
    with host.wire() as wire:
        wire.send(request(path="/predict?trace=1"))
        assert is_correct(wire.answer(), expected)


def test_an_escaped_path_finds_its_route(host):
    with host.wire() as wire:
        wire.send(request(path="/models/%69ris/predict"))
        assert wire.answer().status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"POST /predict HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /predict HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_closed(host, expected, data):
    with host.wire() as wire:
        wire.send(data)
        assert wire.answer().status == 400
        assert wire.is_closed()
    with host.wire() as wire:
        wire.send(request())
        assert is_correct(wire.answer(), expected)


# Plain uvicorn refuses the nonsense before its task has answered what came first.
@pytest.mark.parametrize("host", ["fast"], indirect=True)
def test_what_came_before_nonsense_is_answered_first(host, expected):
    with host.wire() as wire:
        wire.send(request() + request() + b"nonsense\r\n\r\n")
        assert is_correct(wire.answer(), expected)
        assert is_correct(wire.answer(), expected)
        assert wire.answer().status == 400
        assert wire.is_closed()


def test_many_that_ask_at_once_get_each_its_own(host, served):
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


# Plain uvicorn takes the end of what is sent for the end of the connection.
@pytest.mark.parametrize("host", ["fast"], indirect=True)
def test_who_sends_no_more_still_gets_the_answer(host, expected):
    for _ in range(20):
        with host.wire() as wire:
            wire.send(request())
            wire.socket.shutdown(socket.SHUT_WR)
            assert is_correct(wire.answer(), expected)
            assert wire.is_closed()


# Plain uvicorn has no such limit; a proxy before it has.
@pytest.mark.parametrize("host", ["fast"], indirect=True)
def test_half_a_request_keeps_nobody_waiting_and_is_closed_in_time(host, expected):
    with host.wire() as half:
        half.send(request()[:-5])
        with host.wire() as wire:
            wire.send(request())
            assert is_correct(wire.answer(), expected)
        began = time.monotonic()
        half.socket.settimeout(5)
        assert half.is_closed()
        assert time.monotonic() - began < 4


def test_an_idle_connection_is_closed_in_time(host):
    with host.wire() as wire:
        wire.send(request())
        wire.answer()
        wire.socket.settimeout(5)
        assert wire.is_closed()


def test_a_reset_harms_nobody(host, expected):
    for at in (5, 60, len(request()) - 1, len(request())):
        wire = Wire(host.address)
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        wire.send(request()[:at])
        wire.close()
    with host.wire() as wire:
        wire.send(request())
        assert is_correct(wire.answer(), expected)


@pytest.mark.slow
def test_many_connections_in_a_row_leave_nothing_behind(host, expected):
    for _ in range(10_000):
        with host.wire() as wire:
            wire.send(request(connection="close"))
            assert wire.answer().status == 200
    until = time.monotonic() + 5
    while len(host.server.server_state.connections) > 2:
        assert time.monotonic() < until
        time.sleep(0.01)


# Of one length, so that their heads are the same; the last two are answered in other ways.
BODIES = [b'{"data":[[5.1,3.5,1.4,0.2]]}', b'{"data":[[6.7,3.0,5.2,2.3]]}', b'{"data":[[6.7,3.0,5.2,"a"]]}']
REQUESTS = [
    *(request(body) for body in BODIES),
    request(path="/predict?not=hot"),
    b"\r\n" + request(BODIES[1]),
    request(b"", "/health", "GET"),
]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=12), st.sets(st.integers(1, 1500), max_size=6)
)
def test_however_requests_are_cut_each_gets_the_answer_it_gets_alone(host, sent, cuts):
    alone = []
    for one in sent:
        with host.wire() as wire:
            wire.send(one)
            answer = wire.answer()
            alone.append((answer.status, answer.body))
    whole = b"".join(sent)
    # Where one request ends and the next begins is what clients cut most.
    ends = {sum(map(len, sent[:at])) for at in range(len(sent)) if at % 2}
    places = [0, *sorted({cut for cut in cuts | ends if 0 < cut < len(whole)}), len(whole)]
    with host.wire() as wire:
        for start, end in itertools.pairwise(places):
            wire.send(whole[start:end])
            time.sleep(0.001)
        for expected in alone:
            answer = wire.answer()
            assert (answer.status, answer.body) == expected


# Every route that reads JSON.
JSON_ROUTES = (
    *("/predict", "/predict/label", "/models/iris/predict", "/models/iris/feedback", "/invocations"),
    *("/v2/models/iris/infer", "/v2/repository/index"),
    *("/v1/models/iris:predict", "/v1/models/iris:classify", "/v1/models/iris:regress"),
)


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_json_of_any_depth_is_no_failure_of_the_server(host, path):
    with host.wire() as wire:
        for depth in (10, 500, *range(900, 1100, 10), 1800):
            opened, objects = b"[" * depth, b'{"examples":' * depth + b"1" + b"}" * depth
            for body in (opened, opened + b"]" * depth, objects):
                if len(body) <= SETTINGS["max_body_bytes"]:
                    wire.send(request(body, path, content_type="application/json"))
                    assert wire.answer().status < 500, (depth, body[:20])


# What they ask for is no path; the last two are more than ASCII and no name of a host.
NO_PATHS = ("CONNECT foo:443", "GET http://", "GET http://a:99999999/x", "GET /\xfc", "GET http://[::bad/x")


@pytest.mark.parametrize("line", NO_PATHS)
def test_a_target_that_is_no_path_is_refused_and_not_logged_as_a_defect(host, expected, caplog, line):
    with host.wire() as wire:
        wire.send(f"{line} HTTP/1.1\r\nhost: lading\r\n\r\n".encode("latin-1"))
        assert b" 400 " in wire.file.readline()
    assert not [record for record in caplog.records if record.exc_info]
    with host.wire() as wire:
        wire.send(request())
        assert is_correct(wire.answer(), expected)


def test_a_body_that_looks_like_a_request_is_none(host, expected):
    inner = request()
    with host.wire() as wire:
        wire.send(inner)  # Known from now on, byte for byte.
        assert is_correct(wire.answer(), expected)
        outer = request(inner, "/predict")
        cut = len(outer) - len(inner)
        wire.send(outer[:cut])
        time.sleep(0.05)
        wire.send(outer[cut:])
        assert wire.answer().status == 400  # One answer, to what is no JSON.
        wire.send(inner)
        assert is_correct(wire.answer(), expected)
        wire.send(request(path="/health", method="GET"))
        assert wire.answer().json()["health"] == "ok"


@pytest.fixture(params=["fast", "asgi"])
def slowly(request, tmp_path):
    """A host with a model that takes its time and a queue of one, and the event that ends the wait."""
    served = served_from(linear_bundle(tmp_path / "iris"))
    go = slow(served, 10)
    given = {**SETTINGS, "max_queue": 1}
    with listening(
        hosted(served, **given).app, ServeSettings(**given), fast=request.param == "fast"
    ) as where:
        yield where, go, served
        go.set()


def waiting_in(host) -> int:
    return sum(host.app.plane.depth(one) for one in host.app.plane.models["iris"])


def test_what_takes_longer_than_the_deadline_is_504_and_the_loop_is_free_meanwhile(slowly):
    host, _go, _served = slowly
    with host.wire() as wire, host.wire() as other:
        began = time.monotonic()
        wire.send(request())
        time.sleep(0.05)
        other.send(request(b"", "/health", "GET"))
        assert other.answer().status == 200
        assert time.monotonic() - began < 0.9
        answer = wire.answer()
        assert answer.status == 504
        assert "within 1 s" in answer.json()["error"]
        assert 0.9 < time.monotonic() - began < 3


def test_a_full_queue_is_429_with_the_time_to_come_back(slowly, expected):
    host, go, _served = slowly
    with host.wire() as running, host.wire() as queued, host.wire() as refused:
        running.send(request())
        wait_until(lambda: host.app.plane.models["iris"][0].in_flight == 1)
        time.sleep(0.05)  # Its thread has taken it.
        queued.send(request())
        wait_until(lambda: waiting_in(host) == 1)
        refused.send(request())
        answer = refused.answer()
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) >= 1
        go.set()
        assert is_correct(running.answer(), expected)
        assert is_correct(queued.answer(), expected)


def test_a_client_that_goes_leaves_its_place_in_the_queue(slowly, expected):
    host, go, _served = slowly
    with host.wire() as running, host.wire() as next_one:
        running.send(request())
        wait_until(lambda: host.app.plane.models["iris"][0].in_flight == 1)
        time.sleep(0.05)
        with host.wire() as gone:
            gone.send(request())
            wait_until(lambda: waiting_in(host) == 1)
        wait_until(lambda: waiting_in(host) == 0)
        next_one.send(request())
        wait_until(lambda: waiting_in(host) == 1)
        go.set()
        assert is_correct(running.answer(), expected)
        assert is_correct(next_one.answer(), expected)


@pytest.mark.parametrize("fast", [True, False])
def test_a_request_half_received_at_the_end_is_still_answered(served, expected, fast):
    app = hosted(served, **SETTINGS).app
    whole = request()
    with listening(app, ServeSettings(**SETTINGS), fast=fast) as host, host.wire() as wire:
        wire.send(whole[:-10])
        time.sleep(0.05)
        host.server.should_exit = True
        time.sleep(0.2)
        wire.send(whole[-10:])
        assert is_correct(wire.answer(), expected)
        assert wire.is_closed()


def test_a_client_that_reads_slowly_gets_everything(host):
    rows = [[1.0, 2.0, 3.0, 4.0]] * 150
    body = json.dumps({"data": rows}, separators=(",", ":")).encode()
    count = 400
    with host.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        sender = threading.Thread(target=lambda: wire.send(request(body, "/models/iris/predict") * count))
        sender.start()
        for at in range(count):
            if at % 100 == 0:
                time.sleep(0.05)
            assert len(wire.answer().json()["prediction"]) == 150
        sender.join(5)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200), st.integers(0, 200))
def test_no_bytes_hang_or_break_the_server(host, expected, caplog, noise, cut):
    whole = request()
    with host.wire() as wire:
        wire.send(whole[:cut] + noise)
        wire.socket.shutdown(socket.SHUT_WR)
        while chunk := wire.socket.recv(65536):
            assert b" 500 " not in chunk.split(b"\r\n", 1)[0]
    assert not [record for record in caplog.records if record.exc_info]
    with host.wire() as wire:
        wire.send(whole)
        assert is_correct(wire.answer(), expected)
