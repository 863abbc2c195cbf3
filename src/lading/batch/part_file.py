"""The files that parts are written to: whole and on the disk, or absent."""

from __future__ import annotations

import os
import secrets
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet

from lading.batch.inputs import sha256_of
from lading.blobs.os_errors import destination_errors

# A group is what readers take at once: larger ones cost them memory, smaller ones bytes.
_GROUP_ROWS = 131_072
# Types that DELTA_BINARY_PACKED is defined for: 32 and 64 bits, signed or not.
_DELTAS = (pa.int64(), pa.int32(), pa.uint64(), pa.uint32())


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of the output: its name below the folder, its rows, and its bytes.

    ``etag`` is what a bucket calls the bytes, until they are published.
    """

    name: str
    rows: int
    size_bytes: int
    sha256: str
    etag: str = ""


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Return how columns are written: six times as fast as with pyarrow's defaults, and smaller."""
    # A dictionary of numbers that hardly ever occur twice is made, and thrown away again.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    wholes = {field.name: "DELTA_BINARY_PACKED" for field in schema if field.type in _DELTAS}
    return {"use_dictionary": texts, "column_encoding": wholes}


class PartFile:
    """A Parquet file that appears under its name when it is whole, and on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Another process may be at work on the same part, after this one was taken for dead.
        # Not by the number of the process, which on another machine may be the same.
        self._scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; groups of rows have the same sizes however they come."""
        self.rows += len(batch)
        self._waiting.append(batch)
        self._waiting_rows += len(batch)
        if self._waiting_rows >= _GROUP_ROWS:
            with self._writing():
                self._flush(_GROUP_ROWS * (self._waiting_rows // _GROUP_ROWS))

    def _writing(self) -> AbstractContextManager[None]:
        # Said here: in a process of an engine, an error that is none of lading's would end it.
        return destination_errors(f"output `{self._path.parent}`")

    def _flush(self, count: int) -> None:
        # Schemas are equal: columns are always those of the signature and of `--keep`.
        table = pa.Table.from_batches(self._waiting)
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pyarrow.parquet.ParquetWriter(
                self._scratch, table.schema, compression="zstd", **_encodings(table.schema)
            )
        self._writer.write_table(table.slice(0, count), row_group_size=_GROUP_ROWS)
        self._waiting = table.slice(count).to_batches()
        self._waiting_rows -= count

    def finish(self, name: str) -> Written | None:
        """Bring the file under its name; return None if it has no rows."""
        if not self.rows:
            return None
        with self._writing():
            return self._finish(name)

    def _finish(self, name: str) -> Written:
        if self._waiting_rows or self._writer is None:
            self._flush(self._waiting_rows)
        assert self._writer is not None
        self._writer.close()
        self._writer = None
        # On the disk before its name is: after a crash of the machine a part is whole or absent.
        with self._scratch.open("rb") as file:
            os.fsync(file.fileno())
        sha256, size = sha256_of(self._scratch), self._scratch.stat().st_size
        self._scratch.rename(self._path)
        return Written(name, self.rows, size, sha256)

    def close(self) -> None:
        """Remove what was not finished; nothing of a file that is whole."""
        if self._writer is not None:
            with suppress(OSError):  # On a full disk its end cannot be written either.
                self._writer.close()
            self._writer = None
        self._scratch.unlink(missing_ok=True)
