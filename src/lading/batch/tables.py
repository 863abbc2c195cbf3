"""Files of rows as Arrow record batches, in ranges; a line that is no row comes out with its reason.

Knows no signature: which columns are read, and what their values must be, is said by others.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from lading.batch.arrow_numpy import to_arrow
from lading.batch.inputs import InputFile
from lading.batch.text_files import END, WithEnd, check_text, read_header, without_mark
from lading.errors import BodyInvalid

BATCH_ROWS = 65_536
_BLOCK_BYTES = 8 * 2**20
_LONGEST_LINE = 256 * 2**20
_LONGEST_SHOWN = 2000
_BATCH_CELLS = 4 * 2**20

# A stream that breaks off within a packed file is an error of `zlib`, which is no `OSError`.
_BROKEN = (pa.ArrowException, OSError, EOFError, ValueError, zlib.error)


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
    except _BROKEN as error:
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
        try:
            batches = self._opened.iter_batches(
                batch_rows(len(columns)), row_groups=groups, columns=list(columns), use_threads=False
            )
            for batch in batches:
                yield Rows(_numbers(at, len(batch)), batch)
                at += len(batch)
        except _BROKEN as error:
            raise broken(self._file, error) from None


def batch_rows(columns: int) -> int:
    """Return how many rows are looked at together: fewer of many columns, so that memory has a bound."""
    return max(16, min(BATCH_ROWS, _BATCH_CELLS // max(1, columns)))


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
            size = batch_rows(len(columns))
            for batch in batches:
                wanted = batch.select(list(columns))
                # Arrow trusts what it maps: lengths that point elsewhere would end the process.
                wanted.validate(full=True)
                for start in range(0, len(batch), size):
                    part = wanted.slice(start, size)
                    yield Rows(_numbers(at, len(part)), part)
                    at += len(part)
        except _BROKEN as error:
            raise broken(self._file, error) from None


class _Csv:
    """Cells as texts: what a column must be is the signature's to say, and not a guess from some rows."""

    def __init__(self, file: InputFile) -> None:
        self._file = file
        with open_bytes(file) as source:
            check_text(source)
        with open_bytes(file) as source:
            self._header = read_header(source)
        # Of many columns a few rows at a time would cost more than their cells.
        self._block_bytes = max(_BLOCK_BYTES, min(8 * _BLOCK_BYTES, 64 * self._header.size_bytes))

    def groups(self) -> list[int] | None:
        # A file without even a header has no rows.
        return None if self._header.names else []

    def schema(self) -> pa.Schema:
        # What a cell holds is not known before it is read.
        return pa.schema([(name, pa.string()) for name in self._header.names])

    def read(self, span: Span, columns: Sequence[str]) -> Iterator[Rows]:  # noqa: ARG002 - always the whole
        if not self._header.names:
            return
        refused: list[Rejected] = []
        ended = False

        def refuse(row: Any) -> str:
            nonlocal ended
            if row.text == END:
                ended = True
                return "skip"
            reason = f"expected {row.expected_columns} cells, found {row.actual_columns}"
            # Rows are numbered from 1; the header is read before.
            refused.append(Rejected(row.number - 1, reason, row.text[:_LONGEST_SHOWN]))
            return "skip"

        with open_bytes(self._file) as source:
            try:
                reader = self._reader(WithEnd(source, self._header.size_bytes), columns, refuse)
                for rows in _numbered(reader, refused, columns):
                    # A file of one column has a cell where others have a line of another width.
                    if len(self._header.names) == 1 and _ends(rows.batch):
                        ended = True
                        rows = _without_last(rows)  # noqa: PLW2901
                    # Behind the last line is one of no rows; looking at it costs as much as a full one.
                    if len(rows.batch) or rows.rejected:
                        yield _as_texts(rows)
            except (*_BROKEN, RecursionError) as error:
                raise broken(self._file, _csv_problem(error)) from None
        if not ended:
            raise broken(self._file, "a quote that nobody closed")

    def _reader(self, source: WithEnd, columns: Sequence[str], refuse: Any) -> Any:
        # By their places: columns that nobody reads may have any names, even the same ones.
        names = self._header.names
        place_of = {name: at for at, name in enumerate(names)}
        places = [str(place_of[name]) for name in columns]
        return pyarrow.csv.open_csv(
            source,
            pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=self._block_bytes,
                column_names=list(map(str, range(len(names)))),
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self._header.delimiter, newlines_in_values=True, invalid_row_handler=refuse
            ),
            pyarrow.csv.ConvertOptions(
                # As bytes: one cell in another encoding must not end the run.
                column_types=dict.fromkeys(places, pa.binary()),
                include_columns=places,
                strings_can_be_null=False,
            ),
        )


def _csv_problem(error: BaseException) -> object:
    # Arrow's sentence names neither the limit nor the usual cause.
    if "straddling" in str(error):
        return f"a row of more than {_BLOCK_BYTES // 2**20} MiB, or a quote that nobody closed"
    return error


def _numbered(reader: Any, refused: list[Rejected], columns: Sequence[str]) -> Iterator[Rows]:
    """Iterate over batches with the numbers of their rows, which leave out those of `refused`."""
    at = known = 0
    for batch in reader:
        named = pa.RecordBatch.from_arrays(batch.columns, list(columns))
        # A line is refused before its batch comes; the reader may have looked on into the next one.
        numbers, before = list[int](), known
        for _ in range(len(batch)):
            while known < len(refused) and refused[known].row == at:
                at, known = at + 1, known + 1
            numbers.append(at)
            at += 1
        yield Rows(pa.array(numbers, pa.int64()), named, tuple(refused[before:known]), texts=True)
    if refused[known:]:
        empty = _no_rows(pa.schema([(name, pa.binary()) for name in columns]))
        yield Rows(pa.array([], pa.int64()), empty, tuple(refused[known:]), texts=True)


def _ends(batch: pa.RecordBatch) -> bool:
    return bool(len(batch)) and batch.column(0)[-1].as_py() == END.encode()


def _without_last(rows: Rows) -> Rows:
    count = len(rows.batch) - 1
    return msgspec.structs.replace(
        rows, numbers=rows.numbers.slice(0, count), batch=rows.batch.slice(0, count)
    )


def _as_texts(rows: Rows) -> Rows:
    """Return rows with cells that are texts; those with a cell in another encoding are refused."""
    names, columns, wrong = rows.batch.schema.names, list[pa.Array](), dict[int, str]()
    for name, column in zip(names, rows.batch.columns, strict=True):
        try:
            columns.append(column.cast(pa.string()))
        except pa.ArrowInvalid:
            cells = column.to_pylist()
            for at, cell in enumerate(cells):
                if not is_utf8(cell):
                    wrong.setdefault(at, f"column `{name}`: expected a text in UTF-8, found other bytes")
            columns.append(pa.array([cell.decode("utf-8", "replace") for cell in cells], pa.string()))
    batch = pa.RecordBatch.from_arrays(columns, names)
    if not wrong:
        return msgspec.structs.replace(rows, batch=batch)
    kept = np.ones(len(batch), bool)
    kept[list(wrong)] = False
    refused = [
        Rejected(rows.numbers[at].as_py(), reason, shown_row(batch, at)) for at, reason in wrong.items()
    ]
    mask = pa.array(kept)
    return msgspec.structs.replace(
        rows,
        numbers=rows.numbers.filter(mask),
        batch=batch.filter(mask),
        rejected=(*rows.rejected, *refused),
    )


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are a text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def shown_row(batch: pa.RecordBatch, at: int) -> str:
    """Return a row as JSON, as far as it is read, for somebody who has to find out what is wrong with it."""
    # Each entry takes six characters or more: columns beyond these are never shown.
    few = range(min(batch.num_columns, _LONGEST_SHOWN // 6 + 1))
    return shown({batch.schema.names[each]: _shown_value(batch.column(each)[at]) for each in few})


def shown(row: Any) -> str:
    """Return a value as JSON, its beginning if it is long."""
    text = msgspec.json.encode(row, enc_hook=str).decode("utf-8", "replace")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _shown_value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        # A text in another encoding, or a time that Python has no date for.
        buffer = value.as_buffer() if hasattr(value, "as_buffer") else None
        return buffer.to_pybytes().decode("utf-8", "replace") if buffer is not None else str(value.type)


class _JsonLines:
    def __init__(self, file: InputFile) -> None:
        self._file = file
        with open_bytes(file) as source:
            check_text(source)

    def groups(self) -> list[int] | None:
        return None if self._file.size_bytes else []

    def schema(self) -> None:
        return None

    def read(self, span: Span, columns: Sequence[str]) -> Iterator[Rows]:  # noqa: ARG002 - always the whole
        decoder = msgspec.json.Decoder()
        numbers: list[int] = []
        objects: list[dict[str, Any]] = []
        rejected: list[Rejected] = []
        at, size = -1, 0
        try:
            with open_bytes(self._file) as source:
                for line in _lines(source):
                    at, size = at + 1, size + len(line)
                    value = _decoded(decoder, line)
                    if isinstance(value, dict):
                        numbers.append(at)
                        objects.append(value)
                    else:
                        rejected.append(Rejected(at, str(value), _shown(line)))
                    # An object takes many times the memory of its numbers.
                    if len(objects) >= BATCH_ROWS // 8 or size >= _BLOCK_BYTES:
                        yield _rows_of(numbers, objects, rejected)
                        numbers, objects, rejected, size = [], [], [], 0
        except _BROKEN as error:
            raise broken(self._file, error) from None
        if objects or rejected:
            yield _rows_of(numbers, objects, rejected)


def _lines(source: Any) -> Iterator[bytes]:
    """Iterate over the lines that hold something: many files end in an empty one."""
    line = without_mark(source.readline(_LONGEST_LINE))
    while line:
        if len(line) >= _LONGEST_LINE:
            raise ValueError(f"a line of more than {_LONGEST_LINE // 2**20} MiB")
        if line.strip():
            yield line
        line = source.readline(_LONGEST_LINE)


def _decoded(decoder: msgspec.json.Decoder[Any], line: bytes) -> dict[str, Any] | str:
    """Return a line as an object, or the reason why it is none."""
    try:
        value = decoder.decode(line)
    except RecursionError:
        return "expected JSON, found too many levels"
    except ValueError as error:
        return f"expected JSON, found {error}"
    return value if isinstance(value, dict) else "expected an object, found another value"


def _rows_of(numbers: list[int], objects: list[dict[str, Any]], rejected: list[Rejected]) -> Rows:
    batch = _no_rows(pa.schema([]))
    return Rows(pa.array(numbers, pa.int64()), batch, tuple(rejected), objects=tuple(objects))


def _shown(line: bytes) -> str:
    return line[:_LONGEST_SHOWN].decode("utf-8", "replace").rstrip("\r\n")


def _numbers(first: int, count: int) -> pa.Array:
    return to_arrow(np.arange(first, first + count, dtype=np.int64))


def open_bytes(file: InputFile) -> Any:
    """Open a file of text, unpacked if its name says that it is packed."""
    path = Path(file.path)
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")
