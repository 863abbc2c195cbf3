"""Clients that do not read their answers, and clients that send many requests at once."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from lading.server import exchange
from lading.server.http.protocol import FastProtocol
from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import BODY, SETTINGS, is_correct, request, sent_in_one_stage
from support.waiting import wait_until
from support.wire import Listening, Wire, listening

ROWS = 8000
LARGE = request(b'{"data":[%b]}' % b",".join([b"[5.1,3.5,1.4,0.2]"] * ROWS), "/models/iris/predict")


@contextlib.contextmanager
def serving(served, **changes: float) -> Iterator[Listening]:
    limits = {**SETTINGS, "max_body_bytes": 2**20, "deadline_s": 30.0, **changes}
    with listening(hosted(served, **limits).app, ServeSettings(**limits), fast=True) as host:
        yield host


@contextlib.contextmanager
def unread(host: Listening, whole: bytes = LARGE) -> Iterator[Wire]:
    """A client that asks until the server cannot write any more, and reads nothing."""
    with host.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        wire.send(request())
        assert wire.answer().status == 200
        name = wire.socket.getsockname()
        (connection,) = (each for each in host.connections if each.client == name)

        def ask() -> None:
            with contextlib.suppress(OSError):
                while not connection.flow.write_paused:
                    wire.send(whole)

        sender = threading.Thread(target=ask)
        sender.start()
        wait_until(lambda: connection.flow.write_paused or connection.transport.is_closing())
        yield wire
        wire.socket.close()
        sender.join(10)


# Of a fast route, and of a task that waits to write.
@pytest.mark.slow
@pytest.mark.parametrize("whole", [LARGE, LARGE.replace(b"predict HTTP", b"predict?task=1 HTTP")])
def test_a_client_that_reads_nothing_is_cut_off_and_logged(served, expected, caplog, whole):
    with serving(served, client_timeout_s=0.5) as host, caplog.at_level(logging.WARNING):
        with unread(host, whole):
            with host.wire() as good:
                for _ in range(20):
                    good.send(request())
                    assert is_correct(good.answer(), expected)
            wait_until(lambda: not host.connections, within_s=5)
        (line,) = [record.getMessage() for record in caplog.records if "cut off" in record.getMessage()]
        assert line.startswith("127.0.0.1: cut off: read 0 bytes in")
        assert "too slowly" in line


@pytest.mark.slow
def test_a_client_that_reads_at_the_least_rate_gets_everything(served):
    with serving(served, client_timeout_s=0.2, client_min_rate=10_000) as host, host.wire() as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        sender = threading.Thread(target=wire.send, args=(LARGE * 12,))
        sender.start()
        for _ in range(12):
            time.sleep(0.1)
            assert len(json.loads(wire.answer().body)["prediction"]) == ROWS
        sender.join(10)


def test_clients_that_leave_too_much_unread_together_are_cut_off_but_no_others(served, expected, caplog):
    limits = {"client_timeout_s": 60.0, "max_unread_bytes": 100_000}
    with serving(served, **limits) as host, host.wire() as good, caplog.at_level(logging.WARNING):
        with unread(host):

            def is_alone() -> bool:
                good.send(request())
                assert is_correct(good.answer(), expected)
                return len(host.connections) == 1

            wait_until(is_alone, within_s=5)
        assert "while clients leave more than 100000 bytes unread" in caplog.text


def number_of(answer) -> int:
    """Return the number of a request in the order in which the server began them."""
    return int(answer.headers["x-request-id"].rpartition("-")[2], 16)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/predict", "/health"])
def test_a_client_that_pipelines_thousands_of_requests_holds_up_no_other(served, path, monkeypatch):
    # Ids are drawn at random; counted up, they tell the order in which requests were begun.
    monkeypatch.setattr(exchange, "RequestIds", lambda: (b"id-%x" % number for number in itertools.count()))
    flood = request(b"", path, "GET") if path == "/health" else request(BODY, path)
    count = 2000
    with serving(served) as host, sent_in_one_stage(host, flood * count, request(), flood * count) as wires:
        answers: list[list[int]] = [[], [], []]

        def read(at: int, most: int) -> None:
            for _ in range(most):
                answers[at].append(number_of(wires[at].answer()))

        readers = [threading.Thread(target=read, args=(at, count)) for at in (0, 2)]
        for reader in readers:
            reader.start()
        read(1, 1)
        for reader in readers:
            reader.join(60)
        first = min(answers[0][0], answers[1][0])
        assert answers[1][0] - first < 300
        assert [len(each) for each in answers] == [count, 1, count]
        assert answers[0] == sorted(answers[0])
        # Neither of the two waited for the other to end.
        assert answers[2][0] < answers[0][-1]


def test_no_turn_has_more_of_a_client_than_the_one_before(served, monkeypatch):
    count, turns = 1000, [0]
    feed = FastProtocol.feed

    def counted_feed(self, data: bytes) -> bytes:
        turns[-1] += len(data)
        return feed(self, data)

    with serving(served) as host:
        run = host.stage.run

        def counted_run() -> None:
            turns.append(0)
            run()

        with sent_in_one_stage(host, request() * count, request() * count) as wires:
            # What is parsed in a turn, not what is answered in it: an answer may come later, from a thread.
            monkeypatch.setattr(FastProtocol, "feed", counted_feed)
            monkeypatch.setattr(host.stage, "run", counted_run)
            for wire in wires:
                for _ in range(count):
                    assert wire.answer().status == 200
    assert sum(turns) > count * len(request())  # Both were parsed here, all but what the first turn had.
    assert max(turns) <= 2 * 2048


@pytest.mark.slow
def test_a_client_that_goes_while_its_requests_wait_is_no_error(served, caplog):
    asked = LARGE.replace(b"predict HTTP", b"predict?task=1 HTTP")
    with serving(served, client_timeout_s=30.0) as host:
        with unread(host, asked * 4) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: not host.connections, within_s=5)
        wait_until(lambda: not host.server.server_state.tasks, within_s=5)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.slow
@pytest.mark.parametrize("ends", [False, True])
def test_requests_that_wait_their_turn_are_all_answered(served, ends):
    count = 1500
    with serving(served) as host, host.wire() as wire:
        wire.send((request() + request(b"", "/health", "GET")) * count)
        if ends:
            wire.socket.shutdown(socket.SHUT_WR)
        for _ in range(2 * count):
            while (answer := wire.answer()).status == 100:
                pass
            assert answer.status == 200
        if ends:
            assert wire.is_closed()
