"""Parquet files of a log: made of closed segments, sorted by time, and replaced as a whole. Never changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lading.monitor.log.layout import CONSTANTS, SEGMENTS, Contents
from lading.monitor.log.segments import read_segment

MOST_GROUP_ROWS = 32_768
MOST_GROUP_BYTES = 8 * 2**20
"""Of a row group: what is sorted and compressed at once. A reader skips groups by their times."""

_SPREAD_US = 2_000_000
"""Batches of several workers overlap in time by less than this: so much is kept back for the next group."""

# A dictionary of what differs in nearly every record costs time and saves nothing.
_NO_DICTIONARY = ("id", "time", "latency_s", "labelled_at")


def parquet_of(root: Path, segment: Path, *, fast: bool = False) -> Path | None:
    """Make the Parquet file of a segment below `root`; return its path, or None if it holds no record.

    `fast` leaves it uncompressed, for a file that is read once. Does nothing if the file exists. The caller
    removes the segment afterwards. Raises `OSError`.
    """
    opened = read_segment(segment)
    if opened is None:
        return None
    contents, schema, batches = opened
    path = root / contents.folder / f"{segment.stem}.parquet"
    if path.exists():
        return path
    tables = _sorted(batches, contents)
    return path if write_file(path, root, completed(schema, contents), tables, fast=fast) else None


def write_file(
    path: Path, root: Path, schema: pa.Schema, tables: Iterator[pa.Table], *, fast: bool = False
) -> bool:
    """Write a Parquet file, one row group for each table, so that it appears whole or not at all.

    Return False, and write nothing, if no table has a row. Raises `OSError`.
    """
    # Beside the segments, where no reader looks, and on the file system that it is renamed within.
    temporary = root / SEGMENTS / f".{path.stem}.parquet"
    temporary.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    try:
        # Requests are nobody's business but the owner's and the group's.
        temporary.touch(mode=0o640)
        with temporary.open("wb") as file:
            dictionaries = False if fast else _dictionaries(schema)
            compression = "none" if fast else "zstd"
            with pq.ParquetWriter(
                file, schema, compression=compression, use_dictionary=dictionaries
            ) as writer:
                for table in tables:
                    rows += table.num_rows
                    writer.write_table(table, row_group_size=max(1, table.num_rows))
            # On the disk before it has its name: a file that a reader sees is whole.
            file.flush()
            os.fsync(file.fileno())
        if rows:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return rows > 0


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def completed(schema: pa.Schema, contents: Contents) -> pa.Schema:
    """Return the schema of a segment's Parquet file: with the columns that its header stands for."""
    if contents.kind == "labels":
        return schema
    fields = list(schema)
    at = schema.get_field_index("time") + 1
    for name in CONSTANTS:
        kind = pa.int32() if name in ("version", "release") else pa.dictionary(pa.int32(), pa.string())
        fields.insert(at, pa.field(name, kind))
        at += 1
    return pa.schema(fields)


def complete(table: pa.Table, contents: Contents) -> pa.Table:
    """Return records of a segment with the columns that its header stands for."""
    if contents.kind == "labels":
        return table
    at = table.schema.get_field_index("time") + 1
    for name in CONSTANTS:
        value = getattr(contents, name)
        # One text for all rows, which Parquet stores once as well.
        if isinstance(value, int):
            column = pa.repeat(pa.scalar(value, pa.int32()), table.num_rows)
        else:
            indices = pa.repeat(pa.scalar(0, pa.int32()), table.num_rows)
            column = pa.DictionaryArray.from_arrays(indices, pa.array([value], pa.string()))
        table = table.add_column(at, name, column)
        at += 1
    return table


def _sorted(batches: Iterator[pa.RecordBatch], contents: Contents) -> Iterator[pa.Table]:
    """Iterate over the records in groups of about `MOST_GROUP_ROWS`, in the order of their times."""
    column = "time" if contents.kind == "answers" else "labelled_at"
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        rows, size = sum(b.num_rows for b in waiting), sum(b.nbytes for b in waiting)
        if rows < MOST_GROUP_ROWS and size < MOST_GROUP_BYTES:
            continue
        # Each worker sends in the order of its answers; only between workers the order has to be made.
        table = _by_time(waiting, column)
        latest = table.column(column)[-1].value
        keep_from = pa.scalar(latest - _SPREAD_US, table.schema.field(column).type)
        ready = pc.sum(pc.less_equal(table.column(column), keep_from)).as_py() or 0
        if not ready:  # So many within two seconds: the order within the file is then that of the groups.
            ready = table.num_rows
        yield complete(table.slice(0, ready), contents)
        waiting = table.slice(ready).combine_chunks().to_batches()
    if waiting:
        yield complete(_by_time(waiting, column), contents)


def _by_time(batches: list[pa.RecordBatch], column: str) -> pa.Table:
    table = pa.Table.from_batches(batches)
    order = pc.sort_indices(table, [(column, "ascending")])
    return table.take(order).combine_chunks()


def _dictionaries(schema: pa.Schema) -> list[str]:
    """Return the paths of the columns that are written with a dictionary."""
    return [
        field.name
        for field in schema
        if field.name not in _NO_DICTIONARY and not pa.types.is_nested(field.type)
    ]
