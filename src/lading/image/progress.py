"""Reports the progress of an image on its way to a target, all blobs together. Draws nothing."""

from __future__ import annotations

import dataclasses
import threading
from typing import BinaryIO

from lading.blobs.progress import OnProgress, report_writes
from lading.image import Blob, Target


def with_progress(target: Target, on_progress: OnProgress | None) -> Target:
    """Return `target`, with `on_progress` called as blobs are copied; those that exist are not counted."""
    return target if on_progress is None else _ReportingTarget(target, on_progress)


class _ReportingTarget:
    """Several threads may put blobs; the total grows with each blob that begins."""

    def __init__(self, target: Target, on_progress: OnProgress) -> None:
        self._target = target
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._copies: dict[str, tuple[int, int]] = {}

    @property
    def where(self) -> str:
        return self._target.where

    def put(self, blob: Blob) -> int:
        descriptor = blob.descriptor

        def report(done: int, total: int) -> None:
            with self._lock:
                self._copies[descriptor.digest] = done, total
                copies = self._copies.values()
                self._on_progress(sum(done for done, _ in copies), sum(total for _, total in copies))

        def write(out: BinaryIO) -> object:
            return blob.write(report_writes(out, report, descriptor.size))

        return self._target.put(dataclasses.replace(blob, write=write))

    def put_document(self, data: bytes, media_type: str) -> int:
        return self._target.put_document(data, media_type)

    def name(self, data: bytes, media_type: str) -> int:
        return self._target.name(data, media_type)

    def close(self) -> None:
        self._target.close()
