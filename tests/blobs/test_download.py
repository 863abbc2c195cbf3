"""Downloads: continued where a connection breaks, and checked at the end."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator

import pytest

from lading.blobs.download import BUFFER_BYTES, read_blob
from lading.blobs.retry import Retry, TransientError
from lading.errors import DigestMismatch, RegistryUnavailable, SizeMismatch

BODY = random.Random(1).randbytes(3 * BUFFER_BYTES + 7)
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
QUICK = Retry(attempts=3, sleep=lambda _: None)
CHUNK = 100_000


class Server:
    """Serves `body`; each connection breaks after as many bytes as the next of `breaks` says."""

    def __init__(self, body: bytes = BODY, *, breaks: tuple[int, ...] = (), states_size: bool = True) -> None:
        self.body = body
        self.breaks = list(breaks)
        self.states_size = states_size
        self.offsets: list[int] = []
        self.open = 0

    def begin(self, offset: int) -> Connection:
        self.offsets.append(offset)
        self.open += 1
        return Connection(self, offset)


class Connection:
    def __init__(self, server: Server, offset: int) -> None:
        self._server = server
        self._offset = offset
        self._closed = False

    @property
    def size_bytes(self) -> int | None:
        return len(self._server.body) if self._server.states_size else None

    def chunks(self) -> Iterator[bytes]:
        breaks_after = self._server.breaks.pop(0) if self._server.breaks else len(self._server.body)
        rest = io.BytesIO(self._server.body[self._offset :][:breaks_after])
        while chunk := rest.read(CHUNK):
            yield chunk
        if self._offset + breaks_after < len(self._server.body):
            fault = RegistryUnavailable("the server", expected="the rest", found="a broken connection")
            raise TransientError(fault)

    def close(self) -> None:
        self._server.open -= not self._closed
        self._closed = True


@pytest.mark.parametrize("states_size", [True, False])
def test_a_blob_is_read_to_its_end_and_its_connection_closed(states_size):
    server = Server(states_size=states_size)
    with read_blob(server.begin, DIGEST, QUICK) as file:
        assert file.read() == BODY
    assert (server.offsets, server.open) == ([0], 0)


@pytest.mark.parametrize("states_size", [True, False])
def test_a_broken_download_continues_where_it_stopped(states_size):
    server = Server(breaks=(CHUNK, 0, 2 * CHUNK), states_size=states_size)
    with read_blob(server.begin, DIGEST, QUICK) as file:
        assert file.read() == BODY
    assert server.offsets == [0, CHUNK, CHUNK, 3 * CHUNK]
    assert server.open == 0


def test_a_connection_that_breaks_every_time_is_given_up():
    server = Server(breaks=(CHUNK, 0, 0))
    with read_blob(server.begin, DIGEST, QUICK) as file, pytest.raises(RegistryUnavailable):
        file.read()


@pytest.mark.parametrize("states_size", [True, False])
def test_bytes_of_another_digest_are_refused_at_the_end(states_size):
    server = Server(BODY[:-1] + b"?", states_size=states_size)
    with read_blob(server.begin, DIGEST, QUICK) as file, pytest.raises(DigestMismatch):
        file.read()


def test_a_blob_whose_size_changes_between_two_connections_is_refused():
    server = Server(breaks=(CHUNK,))

    def begin(offset: int) -> Connection:
        server.body += b"?" if offset else b""
        return server.begin(offset)

    with read_blob(begin, DIGEST, QUICK) as file, pytest.raises(SizeMismatch):
        file.read()


def test_a_part_is_read_without_what_is_before_it():
    server = Server(BODY[:-1] + b"?")
    with read_blob(server.begin, DIGEST, QUICK) as file:
        assert file.read(10) == BODY[:10]
        file.seek(2 * BUFFER_BYTES)
        assert file.read(10) == BODY[2 * BUFFER_BYTES :][:10]
        # The end is reached without all bytes, so its digest says nothing.
        file.read()
        assert file.tell() == len(BODY)
    assert server.offsets == [0, 2 * BUFFER_BYTES]
    assert server.open == 0


def test_a_part_whose_connection_breaks_continues_where_it_stopped():
    server = Server(breaks=(2 * CHUNK,))
    with read_blob(server.begin, DIGEST, QUICK) as file:
        file.seek(BUFFER_BYTES)
        assert file.read() == BODY[BUFFER_BYTES:]
    assert server.offsets == [0, BUFFER_BYTES, BUFFER_BYTES + 2 * CHUNK]
