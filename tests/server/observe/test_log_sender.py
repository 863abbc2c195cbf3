"""The thread that sends frames to the writer: it never makes a request wait, and counts what it must drop."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from lading.log_frames import MOST_FRAME_BYTES, FrameReader, Labels, Receipt, encode_frame, encode_receipts
from lading.server.observe.log_sender import LogSender, QueuedFrame
from support.predictions import Counts
from support.waiting import wait_until


def frame(number: int = 0, records: int = 1, size: int = 0) -> QueuedFrame:
    data = encode_frame(Labels("iris", [b"%d" % number], [("x" * size,)], [0.0]))
    return QueuedFrame("iris", 3, records, data)


class Inbox:
    """Where a writer takes the connection of a sender."""

    def __init__(self) -> None:
        self.end, self._read_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def accept(self) -> socket.socket:
        self._read_end.settimeout(20)
        _, ends, _, _ = socket.recv_fds(self._read_end, 1, 1)
        connection = socket.socket(fileno=ends[0])
        connection.settimeout(20)
        return connection

    def close(self) -> None:
        self.end.close()
        self._read_end.close()


@pytest.fixture
def inbox():
    with contextlib.closing(Inbox()) as opened:
        yield opened


@pytest.fixture
def sender(inbox):
    sender = LogSender(inbox.end, max_waiting_bytes=10_000)
    yield sender
    sender.close(0.1)


def read(connection: socket.socket, count: int) -> list[Labels]:
    reader, frames = FrameReader(), []
    while len(frames) < count:
        frames += [each for each, _ in reader.feed(connection.recv(65_536))]
    return frames


def test_frames_arrive_in_order_and_are_counted_once_they_are_written(inbox, sender):
    counts = Counts()
    sender.start(counts)
    for number in range(3):
        sender.send(frame(number, records=2))
    with inbox.accept() as connection:
        assert [each.ids for each in read(connection, 3)] == [[b"0"], [b"1"], [b"2"]]
        assert counts.written == {}
        connection.sendall(encode_receipts([Receipt("iris", 3, "", 4), Receipt("iris", 3, "disk_full", 2)]))
        wait_until(lambda: counts.dropped)
        assert (counts.written, counts.dropped) == ({("iris", 3): 4}, {"disk_full": 2})


def test_what_does_not_fit_is_dropped_at_once(inbox, sender):
    began = time.perf_counter()
    for number in range(100):
        sender.send(frame(number, size=1000))
    sender.send(QueuedFrame("iris", 3, 7, b"0" * (MOST_FRAME_BYTES + 1)))
    assert time.perf_counter() - began < 0.5  # Nothing reads, and nothing waits.
    counts = Counts()
    sender.start(counts)
    wait_until(lambda: len(counts.dropped) == 2)
    assert counts.dropped == {"queue_full": 91, "too_large": 7}


def test_a_frame_that_a_writer_had_not_read_goes_whole_to_the_next(inbox, sender):
    counts = Counts()
    sender.start(counts)
    sender.send(frame(1))
    first = inbox.accept()
    read(first, 1)
    first.close()  # It has read the frame, and may have written it.
    wait_until(lambda: counts.dropped == {"writer_ended": 1})
    sender.send(frame(2))
    with inbox.accept() as second:
        assert [each.ids for each in read(second, 1)] == [[b"2"]]


@pytest.mark.slow
def test_the_end_waits_for_receipts_and_no_longer_than_it_may(inbox):
    counts = Counts()
    sender = LogSender(inbox.end)
    sender.start(counts)
    sender.send(frame())
    with inbox.accept():
        began = time.monotonic()
        sender.close(0.5)
        assert time.monotonic() - began < 5
    assert counts.dropped == {"writer_ended": 1}


def test_a_sender_that_was_not_started_can_be_closed(inbox):
    LogSender(inbox.end).close(0.1)
