"""Records on their way to the disk: kept for a fraction of a second, then appended to segments.

What cannot be written is dropped and counted; the next records are tried again. Reads no socket.
"""

from __future__ import annotations

import errno
import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from lading.errors import one_line
from lading.log_frames import LABELS_VERSION, Answers, Frame, Receipt, WriterSettings
from lading.monitor.log.layout import CLOSE_REQUEST, HOUR_S, SEGMENTS, Contents
from lading.monitor.log.records import answer_batches, label_batches
from lading.monitor.log.segments import Segment

log = logging.getLogger("lading.log")

MOST_WAITING_BYTES = 8 * 2**20
"""Records are written before their time if they take more."""

_GRACE_S = 5.0
"""How long after its hour a segment stays open for answers that were under way."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Send = Callable[[list[Receipt]], None]
"""Sends receipts to the server that sent the records."""

_Key = tuple[Contents, pa.Schema]


class Journal:
    """The open segments of one writer, and what waits to be appended to them.

    `has_room` is asked before records are taken: it returns the reason to drop them, or nothing.
    """

    def __init__(
        self,
        root: Path,
        settings: WriterSettings,
        has_room: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._settings = settings
        self._refusal = has_room
        self._clock = clock
        self._open: dict[_Key, Segment] = {}
        self._waiting: dict[_Key, list[tuple[Send, pa.RecordBatch]]] = {}
        self._waiting_bytes = 0
        self._failure = ""
        self._closed_at = clock()

    @property
    def must_flush(self) -> bool:
        """Whether so much waits that it is written before its time."""
        return self._waiting_bytes >= MOST_WAITING_BYTES

    def add(self, frame: Frame, body: memoryview, send: Send) -> None:
        """Take the records of a frame; `send` gets the receipts when they are written or dropped.

        Raises `ValueError` for a frame that contradicts itself.
        """
        # Asked for each frame: the receipt has to go to the worker that sent it.
        reason = self._refusal()
        if reason:
            send([Receipt(frame.model, _version(frame), reason, frame.records)])
            return
        batches = answer_batches(frame, body) if isinstance(frame, Answers) else label_batches(frame)
        for contents, batch in batches:
            self._waiting.setdefault((contents, batch.schema), []).append((send, batch))
            self._waiting_bytes += batch.nbytes

    def flush(self) -> bool:
        """Write what waits; return whether segments were closed."""
        # What fails is not kept: memory would grow for as long as the disk is full.
        waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
        receipts: dict[Send, Counter[tuple[str, int, str]]] = {}
        for key, parts in waiting.items():
            reason = self._append(key, [batch for _, batch in parts])
            for send, batch in parts:
                counts = receipts.setdefault(send, Counter())
                version = key[0].version if key[0].kind == "answers" else LABELS_VERSION
                counts[key[0].model, version, reason] += batch.num_rows
        for send, counts in receipts.items():
            send([Receipt(*key, records) for key, records in counts.items()])
        return self._close_due()

    def close(self) -> None:
        """Write what waits and close all segments."""
        self.flush()
        for segment in self._open.values():
            segment.close()
        self._open.clear()

    def _append(self, key: _Key, batches: list[pa.RecordBatch]) -> str:
        """Append batches to their segment; return why they were dropped, or nothing."""
        try:
            segment = self._segment(key)
            # One batch for all chunks of a turn: each batch has a header, and each is synced.
            for batch in pa.Table.from_batches(batches).combine_chunks().to_batches():
                segment.append(batch)
        except OSError as error:
            self._note_failure(error)
            # A segment whose disk fails may have lost more than this; another one begins.
            broken = self._open.pop(key, None)
            if broken is not None:
                broken.close()
            return "disk_full" if error.errno in _FULL else "disk"
        if self._failure:
            self._failure = ""
            log.info("writing to the prediction log in %s again", self._root)
        return ""

    def _segment(self, key: _Key) -> Segment:
        segment = self._open.get(key)
        if segment is not None and not segment.exists:
            log.warning("segment %s of the prediction log was removed with its records", segment.id)
            self._open.pop(key).close()
            segment = None
        if segment is None:
            segment = self._open[key] = Segment(self._root, *key, self._clock())
        return segment

    def _close_due(self) -> bool:
        now, settings = self._clock(), self._settings
        requested = self._close_requested()
        due = [
            key
            for key, segment in self._open.items()
            if requested
            or segment.size_bytes >= settings.segment_bytes
            or now - segment.began_at >= settings.segment_s
            or now >= max(key[0].hour + HOUR_S, segment.began_at) + _GRACE_S
        ]
        for key in due:
            self._open.pop(key).close()
        return bool(due)

    def _close_requested(self) -> bool:
        try:
            renewed_at = (self._root / SEGMENTS / CLOSE_REQUEST).stat().st_mtime
        except OSError:
            return False
        # By its time alone: several writers share a folder, and each has to see the request.
        if renewed_at <= self._closed_at:
            return False
        self._closed_at = renewed_at
        return True

    def _note_failure(self, error: OSError) -> None:
        failure = one_line(error)
        if failure != self._failure:
            self._failure = failure
            log.error("predictions are not logged: %s", failure)


def _version(frame: Frame) -> int:
    return frame.version if isinstance(frame, Answers) else LABELS_VERSION
