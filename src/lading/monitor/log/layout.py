"""Where records are in a log: the names of its folders and files, and the columns of a record. Reads nothing.

    LOG/model=iris/date=2026-11-30/hour=04/20261130T043512.123456-9f2c11aa.parquet
    LOG/labels/model=iris/date=2026-11-30/hour=05/20261130T050001.000000-03b7d40e.parquet
    LOG/.segments/20261130T043512.123456-9f2c11aa.arrow     what is not yet a Parquet file

A Parquet file has the name of the segment that it was made from, so that no record is counted twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import pyarrow as pa

HOUR_S = 3600
SEGMENTS = ".segments"
LABELS = "labels"
CLOSE_REQUEST = "close"
"""A file beside the segments: writers close theirs when it is renewed."""

_META = b"lading"

TIME = pa.timestamp("us", tz="UTC")

ANSWER_FIELDS = (
    pa.field("id", pa.string()),
    pa.field("row", pa.int32()),
    pa.field("time", TIME),
    pa.field("side", pa.string()),
    pa.field("status", pa.string()),
    pa.field("error", pa.string()),
    pa.field("latency_s", pa.float64()),
    pa.field("warnings", pa.list_(pa.string())),
)
"""Of a record in a segment, before its inputs and outputs."""

# A digest and a replica's name are longer than a record of four numbers.
CONSTANTS = ("version", "digest", "release", "replica")
"""Columns that are the same for all records of a segment, whose header has them."""

LABEL_SCHEMA = pa.schema(
    [("id", pa.string()), ("row", pa.int32()), ("label", pa.string()), ("labelled_at", TIME)]
)


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What the records of one segment have in common; ``hour`` is a Unix time."""

    kind: Literal["answers", "labels"]
    model: str
    hour: int
    version: int = 0
    digest: str = ""
    release: int = 0
    replica: str = ""

    @property
    def folder(self) -> Path:
        """Where the Parquet file goes, below the log."""
        began = datetime.fromtimestamp(self.hour, UTC)
        parts = Path(f"model={self.model}", f"date={began:%Y-%m-%d}", f"hour={began:%H}")
        return parts if self.kind == "answers" else LABELS / parts


def segment_id(unix_s: float) -> str:
    """Return a new id for a segment; ids sort by the time at which their segments began."""
    # Random after the time: two servers may begin one in the same microsecond.
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"


def with_contents(schema: pa.Schema, contents: Contents) -> pa.Schema:
    """Return the schema of a segment with what its records have in common."""
    return schema.with_metadata({_META: msgspec.json.encode(contents)})


def contents_of(schema: pa.Schema) -> Contents:
    """Return what `with_contents` has added."""
    return msgspec.json.decode(schema.metadata[_META], type=Contents)


def hour_of(unix_us: int) -> int:
    """Return the beginning, in Unix seconds, of the hour that a time in microseconds is in."""
    # In whole numbers: a float of microseconds since 1970 is not exact.
    return unix_us // 1_000_000 // HOUR_S * HOUR_S


def hour_folders(root: Path, model: str = "*") -> Iterator[tuple[int, Path]]:
    """Iterate over the folders of hours of one model, or of all, below `root`, oldest first."""
    folders = []
    for path in root.glob(f"model={model}/date=*/hour=*"):
        began = began_of(path)
        if began is not None:
            folders.append((began, path))
    yield from sorted(folders)


def began_of(hour_folder: Path) -> int | None:
    """Return the Unix time at which the hour of a folder began, or None if its name is no such folder's."""
    day, hour = hour_folder.parent.name.removeprefix("date="), hour_folder.name.removeprefix("hour=")
    try:
        return int(datetime.fromisoformat(f"{day}T{hour}:00:00+00:00").timestamp())
    except ValueError:
        return None  # A folder that someone else has made.
