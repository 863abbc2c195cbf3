"""HTTP as clients speak it, well and badly: over fast routes and under plain ASGI alike."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.http_requests import BODY, SETTINGS, is_correct, request, send_in_pieces


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


def test_the_callers_request_id_is_answered(host):
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


def test_http_1_0_is_answered_and_the_connection_closed(host, expected):
    with host.wire() as wire:
        wire.send(request(version="1.0"))
        assert is_correct(wire.answer(), expected)
        assert wire.is_closed()


def test_keep_alive_of_http_1_0_is_declined(host, expected):
    with host.wire() as wire:
        wire.send(request(version="1.0", connection="keep-alive"))
        answer = wire.answer()
        assert is_correct(answer, expected)
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_ten_pipelined_requests_are_answered_in_order(host, expected):
    with host.wire() as wire:
        wire.send(b"".join(request(x_request_id=str(number)) for number in range(10)))
        for number in range(10):
            answer = wire.answer()
            assert is_correct(answer, expected)
            assert answer.headers["x-request-id"] == str(number)


def test_fast_and_other_routes_can_be_pipelined_in_any_order(host):
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


def test_a_request_may_arrive_byte_by_byte(host, expected):
    with host.wire() as wire:
        for byte in request():
            wire.send(bytes([byte]))
        assert is_correct(wire.answer(), expected)


def test_head_is_answered_with_the_headers_of_get(host):
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


UPGRADE = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABkAAQ"}


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/predict", "/predict?trace=1"])
def test_an_upgrade_is_declined_and_its_request_answered(fast_host, expected, path):
    whole = request(path=path, **UPGRADE)
    with fast_host.wire() as wire:
        wire.send(whole * 2000)
        for _ in range(2000):
            assert wire.answer().status == 200
    for cut in (len(whole), whole.index(b"\r\n\r\n") + 4, 20):
        with fast_host.wire() as wire:
            for _ in range(2):
                wire.send(whole[:cut])
                fast_host.wait_read(wire)
                wire.send(whole[cut:] + request())
                assert is_correct(wire.answer(), expected)
                assert is_correct(wire.answer(), expected)


def test_a_cached_head_is_not_parsed_again_and_each_body_is_its_own(fast_host, served):
    bodies = [b'{"data":[[%d.5,3.5,1.4,0.2]]}' % first for first in range(1, 9)]
    with fast_host.wire() as wire:
        for number, body in enumerate(bodies):
            if number == 1:  # From now on nothing is parsed.
                (connection,) = fast_host.connections
                connection.parser = None
            wire.send(request(body, x_known="yes"))
            rows = np.array([[number + 1.5, 3.5, 1.4, 0.2]], np.float32)
            assert is_correct(wire.answer(), served.run({"X": rows})["probabilities"][0].tolist())


def test_a_cached_head_is_not_parsed_again_if_its_body_comes_in_pieces(fast_host, expected):
    whole = request(x_body="in pieces")
    at = len(whole) - len(BODY)
    with fast_host.wire() as wire:
        send_in_pieces(fast_host, wire, whole, at + 5)
        assert is_correct(wire.answer(), expected)
        (connection,) = fast_host.connections
        parser, connection.parser = connection.parser, None
        for cuts in ((at,), (at + 1,), (at + 3, at + 9), (len(whole) - 1,)):
            send_in_pieces(fast_host, wire, whole, *cuts)
            assert is_correct(wire.answer(), expected)
        connection.parser = parser
        # The last piece holds the end of the first request, and two more.
        send_in_pieces(fast_host, wire, whole + request(x_behind="new") + whole, at + 5)
        assert [is_correct(wire.answer(), expected) for _ in range(3)] == [True] * 3


def test_a_body_that_looks_like_a_request_is_a_body(host, expected):
    inner = request()
    with host.wire() as wire:
        wire.send(inner)  # Its head is cached from now on.
        assert is_correct(wire.answer(), expected)
        outer = request(inner, "/predict")
        cut = len(outer) - len(inner)
        wire.send(outer[:cut])
        host.wait_read(wire)
        wire.send(outer[cut:])
        assert wire.answer().status == 400  # One answer, because it is not JSON.
        wire.send(inner)
        assert is_correct(wire.answer(), expected)
        wire.send(request(path="/health", method="GET"))
        assert wire.answer().json()["health"] == "ok"


def test_a_large_body_before_a_request_does_not_count_as_its_headers(fast_host, expected):
    rows = b'{"data":[%b]}' % b",".join([b"[5.1,3.5,1.4,0.2]"] * 200)
    with fast_host.wire() as wire:
        wire.send(request(rows, "/models/iris/predict") * 40 + request()[:20])
        for _ in range(40):
            assert len(wire.answer().json()["prediction"]) == 200
        wire.send(request()[20:])
        assert is_correct(wire.answer(), expected)


# Of one length, so that their heads are the same.
BODIES = [b'{"data":[[5.1,3.5,1.4,0.2]]}', b'{"data":[[6.7,3.0,5.2,2.3]]}', b'{"data":[[6.7,3.0,5.2,"a"]]}']


# The last three are not answered by a fast route with a cached head.
REQUESTS = [
    *(request(body) for body in BODIES),
    request(path="/predict?trace=1"),
    b"\r\n" + request(BODIES[1]),
    request(b"", "/health", "GET"),
]


@pytest.mark.slow
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=12), st.sets(st.integers(1, 1500), max_size=6)
)
def test_requests_in_any_pieces_get_the_answers_they_get_alone(host, sent, cuts):
    alone = []
    for data in sent:
        with host.wire() as wire:
            wire.send(data)
            answer = wire.answer()
            alone.append((answer.status, answer.body))
    whole = b"".join(sent)
    # Where one request ends and the next begins is what clients cut most.
    ends = {sum(map(len, sent[:count])) for count in range(len(sent)) if count % 2}
    cuts_within = sorted({cut for cut in cuts | ends if 0 < cut < len(whole)})
    with host.wire() as wire:
        send_in_pieces(host, wire, whole, *cuts_within)
        for expected in alone:
            answer = wire.answer()
            assert (answer.status, answer.body) == expected


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
def test_bytes_that_are_not_http_are_refused_and_the_connection_closed(host, expected, data):
    with host.wire() as wire:
        wire.send(data)
        assert wire.answer().status == 400
        assert wire.is_closed()
    with host.wire() as wire:
        wire.send(request())
        assert is_correct(wire.answer(), expected)


# Plain uvicorn refuses the invalid bytes before its task has answered the request.
def test_requests_before_invalid_bytes_are_answered_first(fast_host, expected):
    with fast_host.wire() as wire:
        wire.send(request() + request() + b"nonsense\r\n\r\n")
        assert is_correct(wire.answer(), expected)
        assert is_correct(wire.answer(), expected)
        assert wire.answer().status == 400
        assert wire.is_closed()


# Every route that reads JSON.
JSON_ROUTES = (
    *("/predict", "/predict/label", "/models/iris/predict", "/models/iris/feedback", "/invocations"),
    *("/v2/models/iris/infer", "/v2/repository/index"),
    *("/v1/models/iris:predict", "/v1/models/iris:classify", "/v1/models/iris:regress"),
)


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_json_of_any_depth_is_no_server_error(host, path):
    with host.wire() as wire:
        for depth in (10, 500, *range(900, 1100, 10), 1800):
            opened, objects = b"[" * depth, b'{"examples":' * depth + b"1" + b"}" * depth
            for body in (opened, opened + b"]" * depth, objects):
                if len(body) <= SETTINGS["max_body_bytes"]:
                    wire.send(request(body, path, content_type="application/json"))
                    assert wire.answer().status < 500, (depth, body[:20])


# Their targets are not paths; that of the fourth is not ASCII, and the fifth has no host name.
NO_PATHS = ("CONNECT foo:443", "GET http://", "GET http://a:99999999/x", "GET /\xfc", "GET http://[::bad/x")


@pytest.mark.parametrize("line", NO_PATHS)
def test_a_target_that_is_not_a_path_is_refused_and_not_logged_as_a_defect(host, expected, caplog, line):
    with host.wire() as wire:
        wire.send(f"{line} HTTP/1.1\r\nhost: lading\r\n\r\n".encode("latin-1"))
        assert b" 400 " in wire.file.readline()
    assert not [record for record in caplog.records if record.exc_info]
    with host.wire() as wire:
        wire.send(request())
        assert is_correct(wire.answer(), expected)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200), st.integers(0, 200))
def test_no_bytes_cause_a_server_error_or_a_hang(host, expected, caplog, noise, cut):
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


# Plain uvicorn takes all three.
@pytest.mark.parametrize("path", ["/predict", "/predict?task=1", "/health"])
@pytest.mark.parametrize("hosts", ["", "host: a\r\nhost: b\r\n", "Host: a\r\nhost: a\r\n"])
def test_a_request_without_exactly_one_host_is_refused(fast_host, expected, hosts, path):
    lines = f"POST {path} HTTP/1.1\r\n{hosts}content-length: {len(BODY)}\r\n\r\n".encode()
    with fast_host.wire() as wire:
        wire.send(request() + lines + BODY)
        assert is_correct(wire.answer(), expected)
        answer = wire.answer()
        assert answer.status == 400
        assert "expected one `host` header" in answer.json()["error"]
        assert wire.is_closed()
    with fast_host.wire() as wire:
        wire.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert wire.answer().status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "whole",
    [
        *(request(), request(path="/predict?task=1"), request(b"", "/health", "GET"), request(b"{")),
        *(request(path="/nowhere"), b"nonsense\r\n\r\n", request(b" " * 5000), request(b"", "/docs", "GET")),
    ],
)
def test_no_answer_may_be_taken_for_another_type(host, whole):
    with host.wire() as wire:
        wire.send(whole)
        assert wire.answer().headers["x-content-type-options"] == "nosniff"
