"""Reads a file of an image and checks it at the end. Repairs nothing."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from lading.blobs.digest import Tally
from lading.errors import ImageInvalid

BUFFER_BYTES = 1 << 20


def checked(file: BinaryIO, digest: str, where: str) -> BinaryIO:
    """Return a reader of `file` that raises `ImageInvalid` instead of its end, if it has another digest."""
    return cast("BinaryIO", io.BufferedReader(_Checked(file, digest, where), BUFFER_BYTES))


class _Checked(io.RawIOBase):
    def __init__(self, file: BinaryIO, digest: str, where: str) -> None:
        super().__init__()
        self._file = file
        self._digest = digest
        self._where = where
        self._tally = Tally()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        into = memoryview(buffer).cast("B")  # type: ignore[arg-type] # any writable buffer, says io
        data = self._file.read(len(into))
        into[: len(data)] = data
        self._tally.add(data)
        if not data and self._tally.digest != self._digest:
            raise damaged(self._where, self._digest, self._tally.digest)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def damaged(where: str, expected: str, found: str) -> ImageInvalid:
    """Say that a part of an image is not what names it."""
    hint = "it was changed or damaged after it was written: copy the image again"
    return ImageInvalid(where, expected=f"`{expected}`", found=f"`{found}`", hint=hint)
