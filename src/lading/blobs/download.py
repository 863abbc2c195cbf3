"""Reads a blob over a network: goes on where a broken connection stopped, and checks the digest at the end.

Knows no protocol; a store gives it the function that opens the blob at an offset.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, cast

from lading.blobs.digest import Tally
from lading.blobs.retry import Retry, TransientError
from lading.errors import SizeMismatch

BUFFER_BYTES = 1 << 20


class Stream(Protocol):
    """The rest of a blob as a server sends it; raises `TransientError` where the connection breaks."""

    @property
    def size_bytes(self) -> int | None:
        """The length of the whole blob as the server tells it; None if it does not."""

    def pieces(self) -> Iterator[bytes]:
        """Return the bytes in order."""

    def close(self) -> None:
        """Let go of the connection."""


def read_blob(begin: Callable[[int], Stream], digest: str, retry: Retry) -> BinaryIO:
    """Open a blob for reading. `begin` tries once to open it at an offset; it is called at once.

    The reader raises `DigestMismatch` instead of giving its end, if other bytes came than `digest` says.
    """
    raw = _BlobReader(begin, digest, retry)
    return cast("BinaryIO", io.BufferedReader(raw, BUFFER_BYTES))


class _BlobReader(io.RawIOBase):
    def __init__(self, begin: Callable[[int], Stream], digest: str, retry: Retry) -> None:
        super().__init__()
        self._begin = begin
        self._digest = digest
        self._retry = retry
        self._tally = Tally()
        self._stream = retry.run(lambda: begin(0))
        self._size_bytes = self._stream.size_bytes
        self._pieces: Iterator[bytes] | None = self._stream.pieces()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        if not self._rest:
            self._rest = memoryview(self._retry.run(self._next))
        into = memoryview(buffer).cast("B")  # type: ignore[arg-type] # any writable buffer, says io
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _next(self) -> bytes:
        """Return the next piece, from a new connection if the last one broke; nothing at the checked end."""
        done = self._tally.size_bytes
        if done == self._size_bytes:
            self._tally.check(self._digest, done)
            return b""
        if self._pieces is None:
            self._reopen(done)
        pieces, self._pieces = self._pieces, None
        # A connection that ends early without a word is one that broke.
        piece = next(pieces, b"") if pieces is not None else b""
        if not piece:
            if self._size_bytes is not None:
                raise TransientError(self._other_size(done))
            # Nobody said how many bytes there are: whether these are all, the digest tells.
            self._tally.check(self._digest, done)
            self._size_bytes = done
            return b""
        self._pieces = pieces
        if self._size_bytes is not None and done + len(piece) > self._size_bytes:
            raise self._other_size(done + len(piece))
        self._tally.add(piece)
        return piece

    def _reopen(self, offset: int) -> None:
        self._stream.close()
        self._stream = self._begin(offset)
        told = self._stream.size_bytes
        if told is not None and self._size_bytes not in {None, told}:
            raise self._other_size(told)
        self._size_bytes = self._size_bytes if told is None else told
        self._pieces = self._stream.pieces()

    def _other_size(self, found: int) -> SizeMismatch:
        expected = f"{self._size_bytes} bytes"
        return SizeMismatch(f"blob `{self._digest}`", expected=expected, found=str(found))
