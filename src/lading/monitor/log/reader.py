"""Reads a prediction log: records as Arrow, and SQL over them by DuckDB, with what is not yet a file.

Offline and read-only: a query reaches the files of its log and nothing else, and no extension is loaded.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lading.errors import ModelNotFound, NotFound, UsageError
from lading.monitor.log.bucket import Bucket
from lading.monitor.log.files import parquet_of
from lading.monitor.log.layout import HOUR_S, LABELS, hour_folders
from lading.monitor.log.mirror import mirrored
from lading.monitor.log.segments import read_segment, segment_paths
from lading.monitor.log.tables import (
    COLUMNS,
    LABEL_COLUMNS,
    files_sql,
    joined_sql,
    labels_sql,
    literal,
    records_sql,
)

CHUNK_ROWS = 65_536

_MOST_MESSAGE = 300
_MODEST = ("threads = 1", "memory_limit = '512MB'")
_KIND = re.compile(r"^\w+ Error: ")


def open_log(url: str, *, modest: bool = False) -> LogReader:
    """Return a reader of the log at `url`, a folder or ``s3://bucket/prefix``.

    A `modest` one runs beside something that matters more: on one CPU, in half a gigabyte. Raises `NotFound`
    if there is no log.
    """
    limits = _MODEST if modest else ()
    if url.startswith("s3://"):
        bucket = Bucket(url)
        return LogReader(mirrored(bucket), url, bucket, limits=limits)
    root = Path(url)
    if not root.is_dir():
        raise no_log(url)
    return LogReader(root, url, limits=limits)


def no_log(url: str) -> NotFound:
    """Return the error of a log that has never been written."""
    hint = "serve with `--log-predictions 1`, or name the log with `--log` or `LADING_LOG`"
    return NotFound(f"prediction log `{url}`", expected="a log", found="none", hint=hint)


class LogReader:
    """The log in the folder ``root``, or a copy of it: ``where`` is its URL."""

    def __init__(
        self, root: Path, where: str, bucket: Bucket | None = None, *, limits: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.where = where
        self._bucket = bucket
        self._limits = limits

    @property
    def is_remote(self) -> bool:
        """Whether its files have to be downloaded to be read."""
        return self._bucket is not None

    def models(self) -> list[str]:
        """List the models that have records or open segments."""
        names = {path.name.removeprefix("model=") for path in self.root.glob("model=*")}
        for path in segment_paths(self.root):
            with contextlib.suppress(FileNotFoundError):
                opened = read_segment(path)
                if opened is not None and opened[0].kind == "answers":
                    names.add(opened[0].model)
        return sorted(names)

    @contextlib.contextmanager
    def tables(
        self,
        model: str,
        since: float | None = None,
        until: float | None = None,
        *,
        with_views: bool = True,
    ) -> Iterator[Tables]:
        """Open the tables of one model within: its records from the hours between two Unix times, and labels.

        Without views there is SQL over files alone, none of which is opened before. Raises `ModelNotFound` if
        the log has no record of it.
        """
        self._check(model)
        if self._bucket is not None:
            mirrored(self._bucket, model, since)
        with tempfile.TemporaryDirectory(prefix="lading-log-") as folder:
            made = _open_segments(self.root, Path(folder), model)
            root = _plain_path(self.root, Path(folder))
            tables = Tables(root, Path(folder), model, made, since, until, self._limits)
            if with_views:
                tables.create_views()
            yield tables

    def replaced(self, path: Path) -> None:
        """Have the log as its folder is, after a file there was replaced or removed."""
        if self._bucket is None:
            return
        name = str(path.relative_to(self.root))
        if path.exists():
            self._bucket.upload(path, name)
        else:
            self._bucket.delete(name)

    def query(self, model: str, sql: str) -> pa.Table:
        """Return the result of a SELECT over ``log``, the records of `model` with their labels.

        Raises `UsageError` for SQL that is wrong or that is no query.
        """
        with self.tables(model) as tables:
            return pa.Table.from_batches(*_parts(tables.query(sql)))

    def records(
        self,
        model: str,
        since: float | None = None,
        until: float | None = None,
        columns: Sequence[str] = (),
        where: str = "",
        chunk_rows: int = CHUNK_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Iterate over the records of `model` between two Unix times, hour by hour, by default all columns.

        `columns` and `where` are SQL over the columns of ``log``, such as ``inputs.x`` and ``label IS NOT
        NULL``. Within an hour records come about in the order of their times. Batches of several hours may
        have several schemas, as versions have several inputs. Raises what `tables` and `Tables.query` raise.
        """
        with self.tables(model, since, until) as tables:
            yield from tables.records(columns, where, chunk_rows)

    def _check(self, model: str) -> None:
        names = self.models()
        if model in names:
            return
        if not names:
            raise no_log(self.where)
        hint = f"it has {', '.join(f'`{name}`' for name in names)}"
        raise ModelNotFound(
            f"prediction log `{self.where}`",
            model=model,
            expected=f"records of `{model}`",
            found="none",
            hint=hint,
        )


class Tables:
    """The records and labels of one model as SQL sees them, while their folder of open segments exists."""

    def __init__(
        self,
        root: Path,
        scratch: Path,
        model: str,
        made: list[Path],
        since: float | None,
        until: float | None,
        limits: Sequence[str] = (),
    ) -> None:
        self._root, self._scratch, self._limits = root, scratch, limits
        self._since, self._until = since, until
        # Listed after the segments were read: one that has become a file meanwhile is in both lists.
        files = _files(root, model)
        labels = _files(root / LABELS, model)
        names = {path.name for _, path in (*files, *labels)}
        own = [path for path in made if path.name in names]
        for path in own:
            path.unlink()
        listed = sorted(files + _files(scratch, model), key=lambda item: (item[0], item[1].name))
        self.files = [(hour, path) for hour, path in listed if self._in_range(hour)]
        self.label_files = labels + _files(scratch / LABELS, model)
        self._columns: tuple[str, ...] = (*COLUMNS, *LABEL_COLUMNS)
        self.connection = self._connect()

    def query(self, sql: str, chunk_rows: int = CHUNK_ROWS) -> pa.RecordBatchReader:
        """Run one SELECT over ``log`` and ``labels``. Raises `UsageError`."""
        with sql_errors(self._columns):
            statements = self.connection.extract_statements(sql)
            # A COPY could write into the folders that may be read.
            kinds = [str(statement.type).rpartition(".")[2].upper() for statement in statements]
            if kinds not in (["SELECT"], ["EXPLAIN"]):
                statement = ", ".join(f"`{kind}`" for kind in kinds) or "nothing"
                raise UsageError("query", expected="one SELECT: the log is read-only", found=statement)
            return arrow_reader(self.connection.sql(sql), chunk_rows)

    def positions(self, where: str) -> pa.Table:
        """Return where records are that match `where`: ``filename``, ``file_row_number`` and ``id``."""
        paths = [path for _, path in self.files]
        source = f"({records_sql(paths, lacking=self.lacking_of(paths), positions=True)})"
        joined = joined_sql(source, "labels")
        with sql_errors(self._columns):
            reader = arrow_reader(
                self.connection.sql(
                    f"SELECT filename, file_row_number, id FROM ({joined}) AS log{self._conditions(where)}"
                ),
                CHUNK_ROWS,
            )
        return pa.Table.from_batches(*_parts(reader))

    def latest(self, where: str, most: int) -> pa.RecordBatchReader:
        """Return the records that match, the newest first; at most `most` of them, all for 0."""
        limit = f" LIMIT {most}" if most else ""
        conditions = self._conditions(where)
        return self.query(
            f"SELECT * EXCLUDE (date, hour) FROM log{conditions} ORDER BY time DESC, row DESC{limit}"
        )

    def records(self, columns: Sequence[str], where: str, chunk_rows: int) -> Iterator[pa.RecordBatch]:
        """Iterate over records hour by hour; see `LogReader.records`."""
        chosen = ", ".join(columns) or "*"
        conditions = self._conditions(where)
        # The join is left out where nobody looks at labels: it holds all of them in memory.
        needs_labels = not columns or any("label" in text for text in (*columns, where))
        # An hour at a time: the SQL names its files, and there may be thousands in all.
        hours: dict[int, list[Path]] = {}
        for hour, path in self.files:
            hours.setdefault(hour, []).append(path)
        for paths in hours.values():
            source = f"({records_sql(paths, lacking=self.lacking_of(paths))})"
            if needs_labels:
                source = f"({joined_sql(source, 'labels')})"
            with sql_errors(self._columns):
                reader = arrow_reader(
                    self.connection.sql(f"SELECT {chosen} FROM {source} AS log{conditions}"), chunk_rows
                )
            yield from reader

    def _conditions(self, where: str) -> str:
        conditions = []
        if where:
            with sql_errors(self._columns):
                # Alone it must be SQL as well: `a) OR (b` is no condition.
                self.connection.extract_statements(f"SELECT {where}")
            conditions.append(f"({where}\n)")
        if self._since is not None:
            conditions.append(f"time >= {timestamp(self._since)}")
        if self._until is not None:
            conditions.append(f"time < {timestamp(self._until)}")
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(":memory:")
        for setting in (
            "TimeZone = 'UTC'",
            f"temp_directory = {literal(str(self._scratch / 'spilled'))}",
            f"allowed_directories = [{literal(str(self._root))}, {literal(str(self._scratch))}]",
            "python_enable_replacements = false",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "enable_external_access = false",
            *self._limits,
            # Last: from here on no query can change the others.
            "lock_configuration = true",
        ):
            connection.execute(f"SET {setting}")
        return connection

    def create_views(self) -> None:
        """Create ``log``, ``records`` and ``labels``, which opens every file."""
        connection = self.connection
        paths = [path for _, path in self.files]
        connection.execute(f"CREATE VIEW labels AS {labels_sql([path for _, path in self.label_files])}")
        records = records_sql(paths, lacking=self.lacking_of(paths))
        connection.execute(f"CREATE VIEW records AS {records}")
        connection.execute(f"CREATE VIEW log AS {joined_sql('records', 'labels')}")

    def _in_range(self, hour: int) -> bool:
        after = self._since is None or hour + HOUR_S > self._since
        return after and (self._until is None or hour < self._until)

    def lacking_of(self, paths: Sequence[Path]) -> tuple[str, ...]:
        """Return the columns of ``log`` that none of the files has."""
        if not paths:
            return ()
        columns = self.connection.sql(files_sql(paths)).columns
        return tuple(name for name in COLUMNS if name not in columns)


@contextlib.contextmanager
def sql_errors(columns: Sequence[str]) -> Iterator[None]:
    """Raise `UsageError` for what DuckDB refuses within; its first sentence says what is wrong."""
    try:
        yield
    except duckdb.Error as error:
        sentence = _KIND.sub("", str(error).strip().split("\n", 1)[0])[:_MOST_MESSAGE]
        hint = f"`log` has the columns {', '.join(columns)}"
        raise UsageError("query", expected="SQL that DuckDB runs", found=sentence, hint=hint) from None


def _open_segments(root: Path, scratch: Path, model: str) -> list[Path]:
    """Make files in `scratch` of all segments of a model that are not yet files of the log."""
    made = []
    for segment in segment_paths(root):
        with contextlib.suppress(FileNotFoundError):  # It has become a file meanwhile, which is listed later.
            opened = read_segment(segment)
            if opened is None or opened[0].model != model:
                continue
            path = parquet_of(scratch, segment, fast=True)
            if path is not None:
                made.append(path)
    return made


def _plain_path(root: Path, scratch: Path) -> Path:
    """Return a path of the log that is no pattern to DuckDB, which reads every path as one."""
    if not any(char in str(root) for char in "*?["):
        return root
    link = scratch / "log"
    link.symlink_to(root.absolute())
    return link


def _files(root: Path, model: str) -> list[tuple[int, Path]]:
    return [
        (began, path)
        for began, folder in hour_folders(root, model)
        for path in sorted(folder.glob("[!.]*.parquet"))
    ]


def timestamp(unix_s: float) -> str:
    """Return a Unix time as SQL writes it."""
    return f"TIMESTAMPTZ {literal(datetime.fromtimestamp(unix_s, UTC).isoformat())}"


def arrow_reader(relation: Any, chunk_rows: int) -> pa.RecordBatchReader:
    """Return a reader of DuckDB's `relation` in batches of `chunk_rows`."""
    # The older name is the only one before DuckDB 1.4, and warns since.
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    return read(chunk_rows)


def _parts(reader: pa.RecordBatchReader) -> tuple[list[pa.RecordBatch], pa.Schema]:
    return list(reader), reader.schema
