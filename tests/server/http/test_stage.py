"""What the connections of one turn share: nobody's request harms, delays or changes another's answer."""

from __future__ import annotations

import contextlib
import gc
import gzip
import json
import ssl
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lading.server.http.messages import Request
from lading.server.http.stage import Head, Stage
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from, slow
from support.http_requests import BODY, SETTINGS, ask_in_one_stage, is_correct, request
from support.wire import Wire, listening

LABEL = b'{"instances":[[5.1,3.5,1.4,0.2]],"params":{"outputs":["label"]}}'


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return served_from(linear_bundle(tmp_path_factory.mktemp("stage") / "iris"))


@pytest.fixture(scope="module")
def expected(served):
    return served.run({"X": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)})["probabilities"][0].tolist()


@pytest.fixture(scope="module")
def host(served):
    app = hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=True) as where:
        yield where


def test_outputs_asked_for_by_name_run_beside_requests_of_other_kinds(host, expected):
    named = request(LABEL, "/invocations", content_type="application/json")
    answers = ask_in_one_stage(host, request(), named, request(), named)
    assert [answer.status for answer in answers] == [200, 200, 200, 200]
    assert is_correct(answers[0], expected)
    assert answers[1].json() == answers[3].json()


UPGRADE = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABkAAQ"}


@pytest.mark.parametrize("path", ["/predict", "/predict?not=hot"])
def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(host, expected, path):
    whole = request(path=path, **UPGRADE)
    with host.wire() as wire:
        wire.send(whole * 2000)
        for _ in range(2000):
            assert wire.answer().status == 200
    for cut in (len(whole), whole.index(b"\r\n\r\n") + 4, 20):
        with host.wire() as wire:
            for _ in range(2):
                wire.send(whole[:cut])
                time.sleep(0.01)
                wire.send(whole[cut:] + request())
                assert is_correct(wire.answer(), expected)
                assert is_correct(wire.answer(), expected)


def heads_of(host) -> dict[bytes, Head]:
    return host.stage.heads


def test_a_head_that_was_read_is_not_read_again_and_its_body_is_its_own(host, served):
    bodies = [b'{"data":[[%d.5,3.5,1.4,0.2]]}' % at for at in range(1, 9)]
    with host.wire() as wire:
        for at, body in enumerate(bodies):
            if at == 1:  # From now on nothing is parsed.
                (connection,) = host.server.server_state.connections
                connection.parser = None
            wire.send(request(body, x_known="yes"))
            rows = np.array([[at + 1.5, 3.5, 1.4, 0.2]], np.float32)
            assert is_correct(wire.answer(), served.run({"X": rows})["probabilities"][0].tolist())


@pytest.mark.parametrize(
    "unfit",
    [
        request(connection="close", x_unfit="closes"),
        request(version="1.0", x_unfit="old"),
        request(path="/predict?not=hot", x_unfit="other lane"),
        request(x_unfit="long" * 300),
        request(x_unfit="more behind it") + b"\r\n",
        b"\r\n" + request(x_unfit="more before it") + request(x_unfit="and another"),
    ],
)
def test_only_the_head_of_a_whole_hot_request_is_remembered(host, expected, unfit):
    with host.wire() as wire:
        wire.send(unfit)
        assert is_correct(wire.answer(), expected)
    assert not [head for head in heads_of(host) if b"x-unfit" in head]


def test_a_head_that_is_read_in_two_pieces_is_not_remembered(host, expected):
    whole = request(x_unfit="in pieces")
    with host.wire() as wire:
        for cut in (10, len(whole) - len(BODY) - 1):
            in_pieces(wire, whole, cut)
            assert is_correct(wire.answer(), expected)
    assert not [head for head in heads_of(host) if b"x-unfit" in head]


def in_pieces(wire: Wire, data: bytes, *cuts: int) -> None:
    """Send `data` so that it arrives in the pieces between `cuts`."""
    for start, end in pairwise((0, *cuts, len(data))):
        wire.send(data[start:end])
        time.sleep(0.1)


def test_a_known_head_whose_body_comes_in_pieces_is_not_read_again(host, expected):
    whole = request(x_body="in pieces")
    at = len(whole) - len(BODY)
    with host.wire() as wire:
        in_pieces(wire, whole, at + 5)
        assert is_correct(wire.answer(), expected)
        (connection,) = host.server.server_state.connections
        parser, connection.parser = connection.parser, None
        for cuts in ((at,), (at + 1,), (at + 3, at + 9), (len(whole) - 1,)):
            in_pieces(wire, whole, *cuts)
            assert is_correct(wire.answer(), expected)
        connection.parser = parser
        in_pieces(
            wire, whole + request(x_behind="new") + whole, at + 5
        )  # The end brings the next ones along.
        assert [is_correct(wire.answer(), expected) for _ in range(3)] == [True] * 3


def test_a_known_request_that_is_half_there_is_finished_while_the_server_ends(served, expected):
    whole, app = request(x_half="there"), hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=True) as host, host.wire() as wire:
        for _ in range(2):
            wire.send(whole)
            assert is_correct(wire.answer(), expected)
        wire.send(whole[:-5])
        time.sleep(0.02)
        host.server.should_exit = True
        time.sleep(0.3)
        wire.send(whole[-5:])
        answer = wire.answer()
        assert is_correct(answer, expected)
        assert answer.headers["connection"] == "close"


def test_a_client_that_stops_within_a_known_request_is_closed(host, expected):
    whole = request(x_stops="within")
    with host.wire() as wire:
        for _ in range(2):
            wire.send(whole)
            assert is_correct(wire.answer(), expected)
        wire.send(whole[:-5])
        began = time.monotonic()
        assert wire.is_closed()
        assert time.monotonic() - began < SETTINGS["deadline_s"] + 2


def test_only_so_many_heads_are_remembered(host, expected):
    with host.wire() as wire:
        for at in range(1200):
            wire.send(request(x_number=str(at)))
            assert wire.answer().status == 200
            assert len(heads_of(host)) <= 512
    assert heads_of(host)


def test_headers_without_end_are_refused(host, expected):
    with host.wire() as wire:
        wire.send(b"POST /predict HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for at in range(1000):
                wire.send(b"x-%d: %b\r\n" % (at, b"x" * 1000))
        with contextlib.suppress(ConnectionError):
            assert b" 431 " in wire.file.readline()
    with host.wire() as wire:
        wire.send(b"GET /" + b"x" * 30_000)
        time.sleep(0.05)
        wire.send(b"x" * 70_000)
        assert wire.answer().status == 431
        assert wire.is_closed()
    with host.wire() as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.answer().status == 400
    counted = host.app.metrics.counters("", 0, "http").statuses
    assert counted[431] == 2
    assert counted[400] >= 1


def test_trailers_without_end_are_refused(host, expected):
    with host.wire() as wire:
        wire.send(b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n")
        wire.send(b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY))
        with contextlib.suppress(ConnectionError):
            until = time.monotonic() + 10
            while time.monotonic() < until:
                wire.send(b"x: %b\r\n" % (b"x" * 1000))
                time.sleep(0.0002)
            pytest.fail("nobody minded")
    with host.wire() as wire:
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
def test_hot_requests_are_answered_over_tls_as_well(served, expected, certificate, fast):
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
        with host.wire() as plain:  # Who speaks no TLS harms nobody.
            plain.send(request())
            with contextlib.suppress(ConnectionError):
                assert plain.is_closed()
        again = Wire(host.address, trusts)
        again.send(request())
        assert is_correct(again.answer(), expected)
        again.close()


def test_a_large_body_before_a_request_does_not_count_as_its_headers(host, expected):
    rows = b'{"data":[%b]}' % b",".join([b"[5.1,3.5,1.4,0.2]"] * 200)
    with host.wire() as wire:
        wire.send(request(rows, "/models/iris/predict") * 40 + request()[:20])
        for _ in range(40):
            assert len(wire.answer().json()["prediction"]) == 200
        wire.send(request()[20:])
        assert is_correct(wire.answer(), expected)


@pytest.fixture
def slowly(tmp_path):
    """A host whose model takes its time, until it is let go."""
    served = served_from(linear_bundle(tmp_path / "iris"))
    go = slow(served, 5)
    given = {**SETTINGS, "deadline_s": 10.0, "keep_alive_s": 1.0}
    with listening(hosted(served, **given).app, ServeSettings(**given), fast=True) as where:
        yield where, go
        go.set()


def test_nonsense_behind_a_request_is_not_taken_for_its_answer(slowly, expected):
    host, go = slowly
    with host.wire() as wire:
        wire.send(request() + b"nonsense\r\n\r\n")
        time.sleep(0.2)
        go.set()
        answer = wire.answer()
        assert is_correct(answer, expected)
        assert answer.headers["connection"] == "close"
        assert wire.is_closed()


def test_an_answer_that_takes_longer_than_a_connection_may_idle_is_waited_for(slowly, expected):
    host, go = slowly
    with host.wire() as wire:
        wire.send(request() + request(path="/predict?not=hot") + request())
        time.sleep(0.2)
        go.set()
        assert is_correct(wire.answer(), expected)
        go.clear()
        time.sleep(1.6)
        go.set()
        assert is_correct(wire.answer(), expected)
        assert is_correct(wire.answer(), expected)


def test_nothing_of_a_request_stays_with_its_connection(slowly, expected):
    host, go = slowly
    go.set()
    gc.collect()
    gc.disable()
    try:
        with host.wire() as wire, host.wire() as gone:
            gone.send(request())
            wire.send(request())
            assert is_correct(wire.answer(), expected)
            gone.close()
            until = time.monotonic() + 2
            while any(isinstance(one, Request) for one in gc.get_objects()):
                assert time.monotonic() < until
                time.sleep(0.02)
    finally:
        gc.enable()


def test_a_connection_made_before_the_first_sweep_is_not_taken_for_an_old_one(served):
    given = ServeSettings(**SETTINGS)
    app = hosted(served, **SETTINGS).app
    with listening(app, given, fast=True) as host, host.wire() as wire:
        lane = host.stage
        lane.tick = lambda _now: None  # As it is before the first.
        lane._loop, lane.now = None, Stage(app).now
        with host.wire() as early:
            early.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                early.is_closed()
        assert wire


def test_a_defect_of_ours_is_logged_as_one_and_not_said_to_be_the_clients(served, caplog, monkeypatch):
    app = hosted(served, **SETTINGS).app
    with listening(app, ServeSettings(**SETTINGS), fast=True) as where:
        monkeypatch.setattr(where.stage, "find", lambda *_: 1 / 0)
        with where.wire() as wire, contextlib.suppress(ConnectionError):
            wire.send(request())
            assert wire.is_closed()
    assert "a connection failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "not HTTP" not in caplog.text


def test_requests_of_one_turn_are_answered_by_what_replaced_it_compressed_or_not(pair):
    asked = hosted(pair[0], **SETTINGS)
    vanishing(asked, *pair, after=3)  # Each of the three connections has asked once before.
    packed = request(gzip.compress(json.dumps(ROWS).encode()), content_encoding="gzip", X_Request_ID="mine")
    with listening(asked.app, ServeSettings(**SETTINGS), fast=True) as host:
        answers = ask_in_one_stage(host, packed, request(), packed)
    assert [one.status for one in answers] == [200] * 3
    assert {one.headers["x-lading-model"] for one in answers} == {"iris:2"}
    assert answers[0].headers["x-request-id"] == "mine"
