"""Segments: records as they came, in Arrow's stream format, written through to the disk.

A segment belongs to the process that holds its lock. What a killed writer has left is read up to the last
whole batch. Makes no Parquet files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from lading.monitor.log.layout import SEGMENTS, Contents, contents_of, segment_id, with_contents


class Segment:
    """One open segment, which this process alone writes."""

    def __init__(self, root: Path, contents: Contents, schema: pa.Schema, now: float) -> None:
        """Make the file. Raises `OSError`."""
        self.contents = contents
        self.id = segment_id(now)
        self.began_at = now
        folder = root / SEGMENTS
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{self.id}.arrow"
        new = folder / f".{self.id}.new"
        self._file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640)
        self.size_bytes = 0
        try:
            # Locked before it has its name: a process that sees the name sees the lock.
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._write(with_contents(schema, contents).serialize())
            new.rename(self.path)
        except OSError:
            os.close(self._file)
            with contextlib.suppress(OSError):
                new.unlink()
            raise

    def append(self, batch: pa.RecordBatch) -> None:
        """Append a batch and have it on the disk before this returns.

        Raises `OSError`; then the segment is as it was before, if it still exists.
        """
        # Message by message, and not through Arrow's writer: after an error its stream cannot be used.
        self._write(batch.serialize())
        os.fdatasync(self._file)

    @property
    def exists(self) -> bool:
        """Whether the file still has its name: someone may have removed the folder."""
        try:
            named = self.path.stat()
        except OSError:
            return False
        return named.st_ino == os.fstat(self._file).st_ino

    def close(self) -> None:
        """Close the file, which gives up its lock."""
        os.close(self._file)

    def _write(self, data: pa.Buffer) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            # Half a batch would hide every later one from a reader.
            os.ftruncate(self._file, self.size_bytes)
            os.lseek(self._file, self.size_bytes, os.SEEK_SET)
            raise
        self.size_bytes += len(data)


def read_segment(path: Path) -> tuple[Contents, pa.Schema, Iterator[pa.RecordBatch]] | None:
    """Return what a segment holds, up to the last whole batch; None if not even its header is whole.

    Raises `FileNotFoundError` if it has become a Parquet file, and other `OSError` of the disk.
    """
    # Read and not mapped: a mapped file that is cut while it is read ends the process.
    file = pa.OSFile(str(path))
    try:
        reader = pa.ipc.open_stream(file)
        contents = contents_of(reader.schema)
    except (pa.ArrowInvalid, OSError) as error:
        file.close()
        # Arrow raises `OSError` for what is cut off as well, but without a number.
        if isinstance(error, OSError) and error.errno:
            raise
        return None
    return contents, reader.schema.remove_metadata(), _batches(file, reader)


def _batches(file: pa.NativeFile, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    with file:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowInvalid, OSError) as error:
                if isinstance(error, OSError) and error.errno:
                    raise
                return  # The writer was killed within this batch, or is writing it now.
            yield batch


def segment_paths(root: Path) -> list[Path]:
    """List the segments of a log in the order in which they began, open ones and closed ones."""
    try:
        return sorted((root / SEGMENTS).glob("[!.]*.arrow"))
    except OSError:
        return []


@contextlib.contextmanager
def taken_over(path: Path) -> Iterator[bool]:
    """Hold the lock of a segment within; yields False if its writer still has it, or if it is gone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        # It may have been removed between the two calls.
        yield path.exists()
    finally:
        os.close(file)
