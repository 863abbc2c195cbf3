"""What went by: the length and digest of bytes on their way to or from a store. Keeps none of them."""

from __future__ import annotations

import hashlib
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
        """Give the number of bytes written."""
        return self.tally.size_bytes


class Nowhere:
    """Where a tar is written to only for its digest."""

    def write(self, data: bytes) -> int:
        """Take the bytes and forget them."""
        return len(data)

    def flush(self) -> None:
        """Do nothing."""
