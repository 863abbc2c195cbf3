"""A reader that checks the digest of a file of an image at its end. Repairs nothing."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from lading.blobs.digest import BlobHash
from lading.errors import ImageInvalid

BUFFER_BYTES = 1 << 20


def verifying_reader(file: BinaryIO, digest: str, where: str) -> BinaryIO:
    """Return a reader of `file` that raises `ImageInvalid` at its end if the digest is another."""
    # Buffered: `tarfile` reads 512 bytes at a time, and each would be hashed alone.
    return cast("BinaryIO", io.BufferedReader(_VerifyingReader(file, digest, where), BUFFER_BYTES))


class _VerifyingReader(io.RawIOBase):
    def __init__(self, file: BinaryIO, digest: str, where: str) -> None:
        super().__init__()
        self._file = file
        self._digest = digest
        self._where = where
        self._hash = BlobHash()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        into = memoryview(buffer).cast("B")  # type: ignore[arg-type] # any writable buffer, says io
        data = self._file.read(len(into))
        into[: len(data)] = data
        self._hash.update(data)
        # An empty read is the end of the file: only now is the digest known.
        if not data and self._hash.digest != self._digest:
            raise damaged(self._where, self._digest, self._hash.digest)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def damaged(where: str, expected: str, found: str) -> ImageInvalid:
    """Return the error of a part of an image whose digest is not the one that it is stored under."""
    hint = "it was changed or damaged after it was written: copy the image again"
    return ImageInvalid(where, expected=f"`{expected}`", found=f"`{found}`", hint=hint)
