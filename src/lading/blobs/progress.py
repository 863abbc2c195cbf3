"""Reports how far a transfer is to a callback. Draws nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, cast

# Called with the bytes done and the bytes in all; done starts over if a transfer does.
OnProgress = Callable[[int, int], object]


def report_writes(out: BinaryIO, on_progress: OnProgress | None, total_bytes: int) -> BinaryIO:
    """Return `out`, with `on_progress` called after each write."""
    if on_progress is None:
        return out
    # Before the first chunk, which may take long, so that progress is visible from the beginning.
    on_progress(0, total_bytes)
    return cast("BinaryIO", _Writer(out, on_progress, total_bytes))


def report_reads(source: BinaryIO, on_progress: OnProgress | None, total_bytes: int) -> BinaryIO:
    """Return `source`, with `on_progress` called after each read."""
    if on_progress is None:
        return source
    on_progress(0, total_bytes)
    return cast("BinaryIO", _Reader(source, on_progress, total_bytes))


class _Writer:
    def __init__(self, out: BinaryIO, on_progress: OnProgress, total_bytes: int) -> None:
        self._out = out
        self._on_progress = on_progress
        self._total_bytes = total_bytes
        self._done = 0

    def write(self, data: bytes) -> int:
        written = self._out.write(data)
        self._done += len(data)
        self._on_progress(self._done, self._total_bytes)
        return written


class _Reader(io.RawIOBase):
    def __init__(self, source: BinaryIO, on_progress: OnProgress, total_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._on_progress = on_progress
        self._total_bytes = total_bytes
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._done += len(data)
        self._on_progress(self._done, self._total_bytes)
        return data
