"""Answered requests as a server shows them to the prediction log, and logs made of them."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lading.log_frames import FrameReader, Receipt, WriterSettings
from lading.monitor.log.journal import Journal
from lading.monitor.log.keeper import convert_closed
from lading.server.observe.chunks import AnswerChunk
from lading.server.observe.log_sender import QueuedFrame
from lading.server.observe.prediction_log import PredictionLog, Privacy
from lading.signature import Signature, Tensor

COLUMNS = ("length", "width")
SIGNATURE = Signature(
    inputs=(Tensor(name="X", dtype="float32", shape=("batch", 2), columns=COLUMNS),),
    outputs=(Tensor(name="label", dtype="string", shape=("batch",)),),
)
NOON = 1_796_040_000.0
"""A Unix time: 2026-11-30, 12:00 UTC."""


def served(signature: Signature = SIGNATURE, name: str = "iris", version: int = 1) -> Any:
    """Return a version as far as the log looks at it."""
    digest = f"sha256:{version:064x}"
    label = f"{name}:{version}"
    return SimpleNamespace(
        name=name,
        version=version,
        digest=digest,
        signature=signature,
        label=label,
        key=(name, version, digest),
    )


def chunk(ids: list[str], *, rows: list[int] | None = None, **more: Any) -> AnswerChunk:
    """Return answered requests, of one row each by default; `more` replaces fields."""
    rows = rows or [1] * len(ids)
    total = sum(rows)
    fields: dict[str, Any] = {
        "served": served(),
        "release": 0,
        "side": "",
        "ids": [text.encode() for text in ids],
        "rows": rows,
        "statuses": [200] * len(ids),
        "errors": [""] * len(ids),
        "latencies_s": [0.25] * len(ids),
        "ended_at": [NOON + at for at in range(len(ids))],
        "warnings": [()] * len(ids),
        "inputs": {"X": np.arange(2 * total, dtype=np.float32).reshape(total, 2)},
        "outputs": {"label": np.array([f"class {at % 2}" for at in range(total)], dtype=object)},
    }
    return AnswerChunk(**{**fields, **more})


class Outgoing:
    """A sender that keeps its frames."""

    def __init__(self) -> None:
        self.frames: list[QueuedFrame] = []

    def send(self, frame: QueuedFrame) -> None:
        self.frames.append(frame)


class Counts:
    """What a sender has counted."""

    def __init__(self) -> None:
        self.written: dict[tuple[str, int], int] = {}
        self.dropped: dict[str, int] = {}

    @property
    def records(self) -> int:
        return sum(self.written.values())

    def count_log_records(self, model: str, version: int, records: int) -> None:
        self.written[model, version] = self.written.get((model, version), 0) + records

    def count_log_dropped(self, reason: str, records: int) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + records


def writer_settings(root: Path | str, **more: Any) -> WriterSettings:
    """Return settings of a writer without limits."""
    return WriterSettings(**{"url": str(root), "max_age_days": 0, "max_bytes": 0, **more})


class LogMaker:
    """Writes a log in this process, as a server and its writer would."""

    def __init__(self, root: Path, *, privacy: Privacy | None = None, **settings: Any) -> None:
        self.root = root
        self.receipts: list[Receipt] = []
        self.journal = Journal(root, writer_settings(root, **settings))
        self._outgoing = Outgoing()
        self._reader = FrameReader()
        self.labels_at = time.time()
        self.log = PredictionLog(
            1.0, self._outgoing, replica="replica-1", privacy=privacy, clock=lambda: self.labels_at
        )

    def add(self, answered: AnswerChunk) -> None:
        """Log answered requests; they wait for `flush`."""
        self.log(answered)
        self._pass_on()

    def label(self, request_id: str, *labels: str, at: float = NOON, model: str = "iris") -> None:
        """Log the truth about a request."""
        self.labels_at = at
        self.log.add_labels(model, request_id.encode(), labels)
        self._pass_on()

    def flush(self) -> None:
        """Have what was logged in open segments."""
        self.journal.flush()

    def close(self) -> None:
        """Have what was logged in Parquet files."""
        self.journal.close()
        convert_closed(self.root)

    def _pass_on(self) -> None:
        for frame in self._outgoing.frames:
            for item in self._reader.feed(frame.data):
                self.journal.add(*item, self.receipts.extend)
        self._outgoing.frames.clear()


def parquet_files(root: Path) -> list[Path]:
    """List the files of records below a log."""
    return sorted(root.glob("model=*/**/*.parquet"))
