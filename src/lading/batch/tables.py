"""Files of rows as Arrow record batches, in ranges; a line that is no row comes out with its reason.

Knows no signature: which columns are read, and what their values must be, is said by others.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from lading.batch.inputs import InputFile
from lading.errors import BodyInvalid

BATCH_ROWS = 65_536
_BLOCK_BYTES = 8 * 2**20
_LONGEST_HEADER = 64 * 2**20
_LONGEST_SHOWN = 2000


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of a file: from ``first_row`` on, in groups ``[first_group, end_group)``; None is to the end."""

    first_row: int
    rows: int | None
    first_group: int
    end_group: int | None


class Rejected(msgspec.Struct, frozen=True):
    """A row that is not scored: its number in the file, from 0, why, and what it held, as text."""

    row: int
    reason: str
    content: str


class Rows(msgspec.Struct, frozen=True):
    """Some rows of a file with their numbers in it, and lines among them that are no rows.

    ``texts`` is whether values are texts that have yet to be parsed; ``objects`` are rows as JSON has them,
    and then the batch has none of the columns.
    """

    numbers: pa.Array
    batch: pa.RecordBatch
    rejected: tuple[Rejected, ...] = ()
    texts: bool = False
    objects: tuple[dict[str, Any], ...] | None = None


class Table(Protocol):
    """A file that can be read by ranges."""

    def groups(self) -> list[int] | None:
        """Return the rows of each group that can be read by itself; None if only the whole can."""
        ...

    def schema(self) -> pa.Schema | None:
        """Return the columns; None if each row has its own."""
        ...

    def read(self, span: Span, columns: Sequence[str]) -> Iterator[Rows]:
        """Iterate over the rows of a range, `columns` of them. Raises `BodyInvalid` for a broken file."""
        ...


def open_table(file: InputFile) -> Table:
    """Open a file; raises `BodyInvalid` if it is not what its name says."""
    kind: Any = {"parquet": _Parquet, "arrow": _Arrow, "csv": _Csv, "jsonl": _JsonLines}[file.form]
    try:
        return cast("Table", kind(file))
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise broken(file, error) from None


def broken(file: InputFile, error: object) -> BodyInvalid:
    """Return the error of a file that cannot be read."""
    actual = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BodyInvalid(f"input `{file.name}`", expected=f"a whole {file.form} file", found=actual)


class _Parquet:
    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._opened = pyarrow.parquet.ParquetFile(
            file.path, memory_map=True, page_checksum_verification=True
        )

    def groups(self) -> list[int]:
        metadata = self._opened.metadata
        return [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)]

    def schema(self) -> pa.Schema:
        return self._opened.schema_arrow

    def read(self, span: Span, columns: Sequence[str]) -> Iterator[Rows]:
        at = span.first_row
        groups = range(span.first_group, span.end_group or 0)
        batches = self._opened.iter_batches(BATCH_ROWS, row_groups=groups, columns=list(columns))
        try:
            for batch in batches:
                yield Rows(_numbers(at, len(batch)), batch)
                at += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise broken(self._file, error) from None


class _Arrow:
    def __init__(self, file: InputFile) -> None:
        self._file = file
        # An empty file cannot be mapped.
        self._source = pa.memory_map(file.path) if file.size_bytes else pa.BufferReader(b"")
        try:
            self._opened: Any = pyarrow.ipc.open_file(self._source)
            self._by_group = True
        except pa.ArrowInvalid:  # A stream has no table of its batches, and is read from its beginning.
            self._source.seek(0)
            self._opened, self._by_group = pyarrow.ipc.open_stream(self._source), False

    def groups(self) -> list[int] | None:
        if not self._by_group:
            return None
        return [self._opened.get_batch(at).num_rows for at in range(self._opened.num_record_batches)]

    def schema(self) -> pa.Schema:
        return self._opened.schema

    def read(self, span: Span, columns: Sequence[str]) -> Iterator[Rows]:
        at = span.first_row
        try:
            if self._by_group:
                batches: Any = map(self._opened.get_batch, range(span.first_group, span.end_group or 0))
            else:
                batches = self._opened
            for batch in batches:
                for start in range(0, len(batch), BATCH_ROWS):
                    part = batch.select(list(columns)).slice(start, BATCH_ROWS)
                    yield Rows(_numbers(at, len(part)), part)
                    at += len(part)
        except (pa.ArrowException, OSError) as error:
            raise broken(self._file, error) from None


class _Csv:
    """Cells as texts: what a column must be is the signature's to say, and not a guess from some rows."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        header = _header(file)
        self._delimiter = _delimiter(header)
        # Quotes may hide a delimiter in a name.
        rows = list(csv.reader(io.StringIO(header, newline=""), delimiter=self._delimiter))
        self._names = rows[0] if rows else []
        # Which of two columns is meant cannot be known, whether the model has it or not.
        repeated = next((name for name in self._names if self._names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(f"column `{repeated}` twice in its first line")

    def groups(self) -> list[int] | None:
        # A file without even a header has no rows.
        return None if self._names else []

    def schema(self) -> pa.Schema:
        # What a cell holds is not known before it is read.
        return pa.schema([(name, pa.string()) for name in self._names])

    def read(self, span: Span, columns: Sequence[str]) -> Iterator[Rows]:  # noqa: ARG002 - always the whole
        refused: list[Rejected] = []
        if not self._names:
            return

        def refuse(row: Any) -> str:
            reason = f"expected {row.expected_columns} cells, found {row.actual_columns}"
            # Rows are numbered from 1, the header among them.
            refused.append(Rejected(row.number - 2, reason, row.text[:_LONGEST_SHOWN]))
            return "skip"

        with open_bytes(self._file) as source:
            try:
                reader = pyarrow.csv.open_csv(
                    source,
                    pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                    pyarrow.csv.ParseOptions(
                        delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=refuse
                    ),
                    pyarrow.csv.ConvertOptions(
                        column_types=dict.fromkeys(columns, pa.string()),
                        include_columns=list(columns),
                        strings_can_be_null=False,
                    ),
                )
                yield from _numbered(reader, refused)
            except (pa.ArrowException, OSError, EOFError) as error:
                raise broken(self._file, error) from None


def _numbered(reader: Any, refused: list[Rejected]) -> Iterator[Rows]:
    """Iterate over batches with the numbers of their rows, which leave out those of `refused`."""
    at = known = 0
    for batch in reader:
        # A line is refused before its batch comes; the reader may have looked on into the next one.
        numbers, before = [], known
        for _ in range(len(batch)):
            while known < len(refused) and refused[known].row == at:
                at, known = at + 1, known + 1
            numbers.append(at)
            at += 1
        yield Rows(pa.array(numbers, pa.int64()), batch, tuple(refused[before:known]), texts=True)
    if refused[known:]:
        yield Rows(pa.array([], pa.int64()), _no_rows(reader.schema), tuple(refused[known:]), texts=True)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


class _JsonLines:
    def __init__(self, file: InputFile) -> None:
        self._file = file

    def groups(self) -> list[int] | None:
        return None if self._file.size_bytes else []

    def schema(self) -> None:
        return None

    def read(self, span: Span, columns: Sequence[str]) -> Iterator[Rows]:  # noqa: ARG002 - always the whole
        decoder = msgspec.json.Decoder()
        numbers: list[int] = []
        objects: list[dict[str, Any]] = []
        rejected: list[Rejected] = []
        at = -1
        try:
            with open_bytes(self._file) as source:
                for line in source:
                    if not line.strip():
                        continue  # Many files end in an empty line.
                    at += 1
                    try:
                        value = decoder.decode(line)
                    except ValueError as error:
                        rejected.append(Rejected(at, f"expected JSON, found {error}", _shown(line)))
                        continue
                    if not isinstance(value, dict):
                        rejected.append(Rejected(at, "expected an object, found another value", _shown(line)))
                        continue
                    numbers.append(at)
                    objects.append(value)
                    # An object takes many times the memory of its numbers.
                    if len(objects) >= BATCH_ROWS // 8:
                        yield _rows_of(numbers, objects, rejected)
                        numbers, objects, rejected = [], [], []
        except (OSError, EOFError) as error:
            raise broken(self._file, error) from None
        if objects or rejected:
            yield _rows_of(numbers, objects, rejected)


def _rows_of(numbers: list[int], objects: list[dict[str, Any]], rejected: list[Rejected]) -> Rows:
    batch = _no_rows(pa.schema([]))
    return Rows(pa.array(numbers, pa.int64()), batch, tuple(rejected), objects=tuple(objects))


def _shown(line: bytes) -> str:
    return line[:_LONGEST_SHOWN].decode("utf-8", "replace").rstrip("\r\n")


def _numbers(first: int, count: int) -> pa.Array:
    return pa.array(np.arange(first, first + count, dtype=np.int64))


def open_bytes(file: InputFile) -> Any:
    """Open a file of text, unpacked if its name says that it is packed."""
    path = Path(file.path)
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _header(file: InputFile) -> str:
    """Return the first row of a CSV, which may have line breaks within quotes."""
    with open_bytes(file) as source:
        head = bytes(source.readline(_LONGEST_HEADER))
        while head.count(b'"') % 2 and (more := source.readline(_LONGEST_HEADER)):
            head += more
    return head.decode("utf-8-sig")


def _delimiter(header: str) -> str:
    """Return what stands between names most often; a comma if nothing does."""
    counts = {mark: header.count(mark) for mark in (",", ";", "\t")}
    return max(counts, key=lambda mark: counts[mark])
