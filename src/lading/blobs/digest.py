"""What went by: the length and digest of bytes on their way to or from a store. Keeps one piece at most."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import BinaryIO

from lading.errors import DigestMismatch, SizeMismatch


class Tally:
    """Counts and hashes the pieces given to `add`."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        """The digest of all pieces so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def add(self, piece: bytes | memoryview) -> None:
        """Count the next piece."""
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def check(self, digest: str, size_bytes: int) -> None:
        """Raise `SizeMismatch` or `DigestMismatch` if the pieces are not the blob that was announced."""
        if self.size_bytes != size_bytes:
            found = str(self.size_bytes)
            raise SizeMismatch(f"blob `{digest}`", expected=f"{size_bytes} bytes", found=found)
        if self.digest != digest:
            raise DigestMismatch("blob", expected=f"`{digest}`", found=f"`{self.digest}`")


class Tallied:
    """A file to write to that counts and hashes what goes through."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tally = Tally()

    def write(self, data: bytes) -> int:
        """Write, count, hash."""
        self.tally.add(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.tally.size_bytes


class ChunkedWriter(ABC):
    """A file to write a blob of `size_bytes` to, which goes on in pieces of `piece_bytes`.

    The last piece, of whatever size, stays in `rest` for whoever finishes.
    """

    def __init__(self, size_bytes: int, piece_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.piece_bytes = piece_bytes
        self.tally = Tally()
        self.rest = bytearray()

    @abstractmethod
    def send(self, piece: bytes) -> None:
        """Send the next piece on."""

    def write(self, data: bytes) -> int:
        """Take the next bytes; send what makes a whole piece. Raises `SizeMismatch` if it gets too long."""
        self.tally.add(data)
        if self.tally.size_bytes > self.size_bytes:
            found = f"{self.tally.size_bytes} or more"
            raise SizeMismatch("blob", expected=f"{self.size_bytes} bytes", found=found)
        self.rest += data
        while len(self.rest) > self.piece_bytes:
            piece = bytes(self.rest[: self.piece_bytes])
            self.send(piece)
            del self.rest[: len(piece)]
        return len(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.tally.size_bytes

    def flush(self) -> None:  # noqa: B027 - what writes a tar wants one
        """Do nothing: pieces are sent when they are whole."""


class NullSink:
    """Where a tar is written to only for its digest."""

    def write(self, data: bytes) -> int:
        """Take the bytes and forget them."""
        return len(data)

    def flush(self) -> None:
        """Do nothing."""
