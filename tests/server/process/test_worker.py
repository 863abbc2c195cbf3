"""The messages between a worker and its supervisor."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from lading.errors import NotFound
from lading.server.metrics.shared_memory import SharedMemory
from lading.server.process.worker import Channel, WorkerContext, replica_id, reported_error


@pytest.fixture
def supervisor() -> Iterator[Channel]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        channel.other = theirs
        yield channel


@pytest.fixture
def orphaned() -> threading.Event:
    return threading.Event()


@pytest.fixture
def context(supervisor, orphaned) -> WorkerContext:
    channel, memory = Channel(supervisor.other), SharedMemory(1)
    # By default a worker without its supervisor sends itself a signal, which would end the tests.
    return WorkerContext(1, supervisor.socket, None, memory, channel, "web-1", 0.0, on_orphaned=orphaned.set)


def test_a_message_that_arrives_in_parts_is_read_when_it_is_complete(supervisor):
    supervisor.other.sendall(b'["chosen", [1')
    assert supervisor.receive() == []
    supervisor.other.sendall(b', 2]]\n["settled", null]\n["wai')
    assert supervisor.receive() == [("chosen", [1, 2]), ("settled", None)]


def test_a_channel_whose_other_end_is_closed_neither_sends_nor_receives(supervisor):
    supervisor.other.close()
    assert supervisor.receive() is None
    assert not supervisor.send("accept")


def test_the_first_worker_that_asks_chooses_for_all(context, supervisor):
    context.listen()
    supervisor.send("choose")
    assert context.agree(lambda: ["iris:1"]) == ["iris:1"]
    assert supervisor.receive() == [("ask", None), ("chosen", ["iris:1"])]


def test_another_worker_takes_what_was_chosen(context, supervisor):
    context.listen()
    supervisor.send("chosen", ["iris:1"])
    assert context.agree(lambda: pytest.fail("asked to choose")) == ["iris:1"]


def test_a_worker_accepts_when_the_supervisor_lets_it(context, supervisor):
    context.listen()
    accepts = threading.Thread(target=context.wait_for_turn)
    accepts.start()
    assert supervisor.receive() == [("waiting", None)]
    assert accepts.is_alive()
    supervisor.send("accept")
    accepts.join(10)
    assert not accepts.is_alive()


def test_a_worker_reports_that_it_has_settled(context, supervisor):
    settled = threading.Event()
    context.report_settled(settled)
    settled.set()
    assert supervisor.receive() == [("settled", None)]


def test_an_error_reaches_the_supervisor_as_it_is(context, supervisor):
    error = NotFound("model `irsi`", expected="a model", found="none", hint="did you mean `iris`?")
    context.report_error(error)
    ((kind, value),) = supervisor.receive()
    assert kind == "refused"
    reported = reported_error(value)
    assert type(reported) is NotFound
    assert (reported.message, reported.hint) == (error.message, error.hint)


def test_a_worker_notices_that_its_supervisor_is_gone(context, supervisor, orphaned):
    context.listen()
    supervisor.socket.close()
    assert orphaned.wait(10)


def test_two_servers_of_one_host_have_different_ids():
    first, second = replica_id(), replica_id()
    assert first.rpartition("-")[0] == second.rpartition("-")[0] == socket.gethostname()
    assert first != second
