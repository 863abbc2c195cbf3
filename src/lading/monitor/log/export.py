"""Results of queries as CSV, lines of JSON, Parquet, or texts for a table. Runs no query."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

Rows = pa.RecordBatchReader
"""The rows of a result, a batch at a time."""


def write_csv(reader: pa.RecordBatchReader, stream: TextIO) -> int:
    """Write rows as CSV with a line of names; what is nested is JSON. Return how many rows."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(reader.schema.names)
    rows = 0
    for row in _rows(reader):
        writer.writerow([_text(value) for value in row.values()])
        rows += 1
    return rows


def write_json(reader: pa.RecordBatchReader, stream: TextIO) -> int:
    """Write rows as lines of JSON; return how many."""
    rows = 0
    for row in _rows(reader):
        stream.write(msgspec.json.encode(row).decode() + "\n")
        rows += 1
    return rows


def write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write rows as a Parquet file; return how many. Raises `OSError`."""
    rows = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        # A batch at a time: a query may return more than the memory holds.
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def text_rows(reader: pa.RecordBatchReader, most: int) -> tuple[list[str], list[list[str]], bool]:
    """Return the names, at most `most` rows as texts, and whether more follow."""
    rows: list[list[str]] = []
    for row in _rows(reader):
        # The row after the last one shows that more follow, without counting them all.
        if len(rows) == most:
            return list(reader.schema.names), rows, True
        rows.append([_text(value) for value in row.values()])
    return list(reader.schema.names), rows, False


def _rows(reader: pa.RecordBatchReader) -> Iterator[dict[str, Any]]:
    for batch in reader:
        yield from batch.to_pylist()


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case date() | str():
            return str(value)
        case float():
            # Nine digits tell any two float32 apart, and hide what conversion to float64 has added.
            return f"{value:.9g}"
        case list() | dict():
            return msgspec.json.encode(value).decode()
    return str(value)
