"""Requests that go the way of ASGI, under the protocol class with fast routes as under plain uvicorn."""

from __future__ import annotations

import logging
import time

import pytest

from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.hosted_app import hosted, served_from, slow
from support.http_requests import BODY, SETTINGS, is_correct, request
from support.wire import listening

COLD = "/predict?not=hot"
CHUNKED = b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture(params=["fast", "asgi"])
def slowly(request, tmp_path):
    """A host whose model takes its time until it is let go, and the rows it ran."""
    served = served_from(linear_bundle(tmp_path / "iris"))
    run, rows = served.run, []

    def note(inputs, outputs=None):
        rows.append(len(inputs["X"]))
        return run(inputs, outputs)

    served.run = note
    go = slow(served, 5)
    given = {**SETTINGS, "deadline_s": 10.0}
    with listening(
        hosted(served, **given).app, ServeSettings(**given), fast=request.param == "fast"
    ) as where:
        yield where, go, rows
        go.set()


def test_a_client_that_goes_leaves_the_queue(slowly):
    host, go, rows = slowly
    with host.wire() as first, host.wire() as last:
        first.send(request(path=COLD))
        time.sleep(0.2)
        with host.wire() as gone:
            gone.send(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
            time.sleep(0.2)
        last.send(request(path=COLD))
        time.sleep(0.2)
        go.set()
        assert first.answer().status == last.answer().status == 200
    assert rows == [1, 1]


def test_a_client_that_goes_before_its_body_is_whole_is_no_error(slowly, caplog):
    host, go, rows = slowly
    go.set()
    with caplog.at_level(logging.INFO), host.wire() as other:
        with host.wire() as gone:
            gone.send(CHUNKED + b"5\r\n{")
            time.sleep(0.1)
        other.send(request())
        assert other.answer().status == 200
        time.sleep(0.1)
    assert "Exception" not in caplog.text
    assert rows == [1]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413_and_others_see_no_error(host, expected, chunked):
    big = b"[" * 5000
    if chunked:
        data = b"POST /predict HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (
            len(big),
            big,
        )
    else:
        data = request(big)
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
