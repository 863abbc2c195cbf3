"""Reads a blob over a network: continues where a connection broke, and checks the digest at the end.

Knows no protocol; a store passes the function that opens the blob at an offset.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, cast

from lading.blobs.digest import BlobHash
from lading.blobs.retry import Retry, TransientError
from lading.errors import RegistryUnavailable, SizeMismatch

BUFFER_BYTES = 1 << 20
# A server that sends less than `LEAST_BYTES_PER_S` while it is waited for `PATIENCE_S` is as good as silent.
LEAST_BYTES_PER_S = 1000
PATIENCE_S = 60.0


class Stream(Protocol):
    """The rest of a blob as a server sends it; raises `TransientError` if the connection breaks."""

    @property
    def size_bytes(self) -> int | None:
        """The length of the whole blob as the server states it; None if it does not."""

    def chunks(self) -> Iterator[bytes]:
        """Return the bytes in order."""

    def close(self) -> None:
        """Close the connection."""


def read_blob(begin: Callable[[int], Stream], digest: str, retry: Retry) -> BinaryIO:
    """Open a blob for reading. `begin` tries once to open it at an offset; it is called immediately.

    Instead of the end of the file, the reader raises `DigestMismatch` if the bytes are not those of `digest`.
    After a seek it does not: the reader of a part has to check it. Nor does it where `digest` is empty, for
    bytes whose digest is yet to be found out.
    """
    raw = _BlobReader(begin, digest, retry)
    return cast("BinaryIO", io.BufferedReader(raw, BUFFER_BYTES))


class _BlobReader(io.RawIOBase):
    def __init__(self, begin: Callable[[int], Stream], digest: str, retry: Retry) -> None:
        super().__init__()
        self._begin = begin
        self._digest = digest
        self._retry = retry
        self._hash = BlobHash()
        # The next byte that arrives; all before it are in the hash unless some were passed over.
        self._position = 0
        self._is_whole = bool(digest)
        self._stream = retry.run(lambda: begin(0))
        self._size_bytes = self._stream.size_bytes
        # None after a failure: the next read opens the blob again.
        self._chunks: Iterator[bytes] | None = self._stream.chunks()
        self._rest = memoryview(b"")
        self._waited_s = 0.0
        self._arrived_bytes = 0

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

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position - len(self._rest)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on from another byte, over a new connection; the end is not known before it is reached."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("seek from the end of a download")
        target = offset + (self.tell() if whence == io.SEEK_CUR else 0)
        if target != self.tell():
            self._position, self._is_whole = target, False
            self._rest = memoryview(b"")
            self._chunks = None
        return target

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _next(self) -> bytes:
        """Return the next chunk, over a new connection if the last one broke; nothing at the checked end."""
        done = self._position
        if done == self._size_bytes:
            self._check(done)
            return b""
        if self._chunks is None:
            self._reopen(done)
        chunks, self._chunks = self._chunks, None
        # A connection that ends early without an error has broken as well.
        chunk = self._wait_for(chunks) if chunks is not None else b""
        if not chunk:
            if self._size_bytes is not None:
                raise TransientError(self._other_size(done))
            # The server did not say how many bytes there are: the digest tells whether these are all.
            self._check(done)
            self._size_bytes = done
            return b""
        self._chunks = chunks
        if self._size_bytes is not None and done + len(chunk) > self._size_bytes:
            raise self._other_size(done + len(chunk))
        self._position += len(chunk)
        if self._is_whole:
            self._hash.update(chunk)
        return chunk

    def _check(self, size_bytes: int) -> None:
        if self._is_whole:
            self._hash.check(self._digest, size_bytes)

    def _wait_for(self, chunks: Iterator[bytes]) -> bytes:
        """Return the next chunk. Raises `TransientError` if they come too slowly, one by one as they may."""
        # The time of the reader between two chunks does not count.
        began = time.monotonic()
        chunk = next(chunks, b"")
        self._waited_s += time.monotonic() - began
        self._arrived_bytes += len(chunk)
        if self._waited_s < PATIENCE_S:
            return chunk
        waited_s, arrived_bytes = self._waited_s, self._arrived_bytes
        self._waited_s, self._arrived_bytes = 0.0, 0
        if chunk and arrived_bytes < LEAST_BYTES_PER_S * waited_s:
            raise TransientError(
                RegistryUnavailable(
                    f"blob `{self._digest}`",
                    expected=f"at least {LEAST_BYTES_PER_S} bytes a second",
                    found=f"{arrived_bytes} in {waited_s:.0f} s",
                )
            )
        return chunk

    def _reopen(self, offset: int) -> None:
        self._stream.close()
        self._stream = self._begin(offset)
        stated = self._stream.size_bytes
        if stated is not None and self._size_bytes not in {None, stated}:
            raise self._other_size(stated)
        self._size_bytes = self._size_bytes if stated is None else stated
        self._chunks = self._stream.chunks()

    def _other_size(self, found: int) -> SizeMismatch:
        expected = f"{self._size_bytes} bytes"
        return SizeMismatch(f"blob `{self._digest}`", expected=expected, found=str(found))
