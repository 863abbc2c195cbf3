"""The length and the digest of bytes on their way to or from a store. Keeps one chunk of them at most."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import BinaryIO

from lading.errors import DigestMismatch, SizeMismatch


class BlobHash:
    """The length and the digest of the bytes so far."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        """The digest of the bytes so far, as ``sha256:…``."""
        return f"sha256:{self._sha256.hexdigest()}"

    def update(self, chunk: bytes | memoryview) -> None:
        """Count and hash the next chunk."""
        self._sha256.update(chunk)
        self.size_bytes += len(chunk)

    def check(self, digest: str, size_bytes: int) -> None:
        """Raise `SizeMismatch` or `DigestMismatch` if the bytes are not the blob that was announced."""
        # The size first: of a blob that was cut off it says more than another digest.
        if self.size_bytes != size_bytes:
            actual = str(self.size_bytes)
            raise SizeMismatch(f"blob `{digest}`", expected=f"{size_bytes} bytes", found=actual)
        if self.digest != digest:
            raise DigestMismatch("blob", expected=f"`{digest}`", found=f"`{self.digest}`")


class HashingWriter:
    """A file to write to that hashes what it passes on to another."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = BlobHash()

    def write(self, data: bytes) -> int:
        """Hash the bytes and write them."""
        self.hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.hash.size_bytes


class ChunkedWriter(ABC):
    """A file to write a blob of `size_bytes` to, which is sent in chunks of `chunk_bytes`.

    The last chunk, of whatever size, stays in `rest` until the subclass finishes.
    """

    def __init__(self, size_bytes: int, chunk_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.chunk_bytes = chunk_bytes
        self.hash = BlobHash()
        self.rest = bytearray()

    @abstractmethod
    def send(self, chunk: bytes) -> None:
        """Send the next chunk."""

    def write(self, data: bytes) -> int:
        """Take the next bytes, and send whole chunks. Raises `SizeMismatch` if the blob gets too long."""
        self.hash.update(data)
        if self.hash.size_bytes > self.size_bytes:
            actual = f"{self.hash.size_bytes} or more"
            raise SizeMismatch("blob", expected=f"{self.size_bytes} bytes", found=actual)
        self.rest += data
        # Not `>=`: the last chunk is sent by `finish`, and it may be a full one.
        while len(self.rest) > self.chunk_bytes:
            chunk = bytes(self.rest[: self.chunk_bytes])
            self.send(chunk)
            del self.rest[: len(chunk)]
        return len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.hash.size_bytes

    def flush(self) -> None:  # noqa: B027 - a tar is written to files that have one
        """Do nothing: chunks are sent when they are complete."""


class NullSink:
    """Discards a tar that is written only for its digest."""

    def write(self, data: bytes) -> int:
        """Discard the bytes."""
        return len(data)

    def flush(self) -> None:
        """Do nothing."""
