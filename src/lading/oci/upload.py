"""Uploads a blob in chunks, resumes where a connection broke, and has it appear only when it is complete.

A blob of one chunk goes in one request, which every registry takes. Keeps no more than one chunk in memory.
"""

from __future__ import annotations

import contextlib
import re
from urllib.parse import urlsplit, urlunsplit

import httpx

from lading.blobs.digest import ChunkedWriter
from lading.blobs.retry import TransientError
from lading.errors import LadingError
from lading.oci.transport import Transport

CHUNK_BYTES = 8 << 20
_OCTETS = {"content-type": "application/octet-stream"}
# A session that the registry no longer knows, or whose offset it does not share.
_LOST = frozenset({400, 404, 416})


class SessionLost(Exception):
    """The registry no longer knows this upload: it must start over from its first byte."""

    def __init__(self, error: LadingError) -> None:
        super().__init__(str(error))
        self.error = error


class Upload(ChunkedWriter):
    """A file to write a blob of `size_bytes` to. `write` and `finish` raise `SessionLost`."""

    def __init__(self, transport: Transport, path: str, size_bytes: int) -> None:
        super().__init__(size_bytes, CHUNK_BYTES)
        self._transport = transport
        self._path = path
        self._location = ""
        self._offset = 0

    def write(self, data: bytes) -> int:
        """Take the next bytes, as `ChunkedWriter`; open the session if they do not fit in one request."""
        # Only the response says how large a chunk must be at least, the first one included.
        if not self._location and len(self.rest) + len(data) > self.chunk_bytes:
            self._open_session()
        return super().write(data)

    def finish(self, digest: str, size_bytes: int) -> None:
        """Send the rest and have the registry check it. Raises `SizeMismatch` and `DigestMismatch`."""
        self.hash.check(digest, size_bytes)
        if not self._location:
            self._open_session()
        if self._offset:
            self.send(bytes(self.rest))
            self.rest.clear()
        self._complete(digest)

    def cancel(self) -> None:
        """Have the registry drop what was sent; if it does not answer, it will do so by itself."""
        if self._location:
            cancel_session(self._transport, self._location)

    def send(self, chunk: bytes) -> None:
        """Send a chunk, or the rest of it after a broken connection."""
        start, end = self._offset, self._offset + len(chunk)
        is_retry = False

        def act() -> None:
            nonlocal is_retry
            if is_retry:
                # The response may have been lost, and not the bytes.
                self._offset = self._arrived(start, end)
            is_retry = True
            if self._offset == end:
                return
            rest = memoryview(chunk)[self._offset - start :]
            headers = {**_OCTETS, "content-range": f"{self._offset}-{end - 1}"}
            response = self._transport.once(
                "PATCH", self._location, expect={201, 202, 204, *_LOST}, headers=headers, content=rest
            )
            self._check_known(response)
            self._follow_location(response)
            self._offset = end

        self._transport.retry.run(act)

    def _open_session(self) -> None:
        response = self._transport.request("POST", self._path, expect={202})
        self._follow_location(response)
        # https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-a-blob-in-chunks
        least = response.headers.get("oci-chunk-min-length", "")
        self.chunk_bytes = max(CHUNK_BYTES, int(least) if least.isdecimal() else 0)

    def _arrived(self, start: int, end: int) -> int:
        """Ask how many bytes the registry has."""
        response = self._transport.once("GET", self._location, expect={200, 204, *_LOST})
        self._check_known(response)
        self._follow_location(response)
        stored = re.fullmatch(r"(?:bytes=)?0-(\d+)", response.headers.get("range", ""))
        last = int(stored[1]) if stored else 0
        # `0-0` is what docker-registry says both of no byte and of one byte.
        arrived = last + 1 if last else 0
        if not start <= arrived <= end:
            raise SessionLost(self._transport.error("go on with an upload", f"{arrived} bytes there"))
        return arrived

    def _complete(self, digest: str) -> None:
        """Have the blob appear under its digest, with all its bytes if none were sent before."""
        url, content = _with_digest(self._location, digest), bytes(self.rest)
        headers = _OCTETS if content else {}
        response = self._transport.request(
            "PUT", url, expect={201, 204, *_LOST}, headers=headers, content=content
        )
        self._check_known(response)

    def _follow_location(self, response: httpx.Response) -> None:
        # Each response may name another URL for the next request of the session.
        location = response.headers.get("location")
        if location:
            self._location = str(response.url.join(location))

    def _check_known(self, response: httpx.Response) -> None:
        if response.status_code in _LOST:
            actual = f"{response.status_code} {response.text[:200]}".strip()
            raise SessionLost(self._transport.error("go on with an upload", actual))


def cancel_session(transport: Transport, location: str) -> None:
    """Notify the registry that an upload is given up: a courtesy, whatever it answers."""
    with contextlib.suppress(LadingError, TransientError):
        transport.once("DELETE", location, expect=range(200, 500))


def _with_digest(location: str, digest: str) -> str:
    # Joined by hand: the rest of the query is the registry's own and must come back as it was.
    parts = urlsplit(location)
    query = f"{parts.query}&digest={digest}" if parts.query else f"digest={digest}"
    return urlunsplit(parts._replace(query=query))
