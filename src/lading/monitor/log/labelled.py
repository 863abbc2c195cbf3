"""Records whose labels came lately: looked for by their ids from the newest hour back, each label once.

Reads the labels of a few hours, the ids of records until each label has its own, and whole records only of
those. Counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from lading.errors import UsageError, one_line
from lading.monitor.log.layout import HOUR_S
from lading.monitor.log.reader import LogReader, Tables, arrow_reader, timestamp
from lading.monitor.log.tables import files_sql, labels_sql, literal, records_sql

MOST_DELAY_S = 31 * 86_400.0
"""A label that comes later is not looked for: a search for one that names no answer would have no end."""

MOST_DELAY_OF_BUCKET_S = 2 * 86_400.0
"""The same for a log in a bucket, whose files are downloaded before they are read."""

_CHUNK_ROWS = 2048  # Records may be images.


def newly_labelled(
    log: LogReader, model: str, since: float, until: float, digest: str
) -> Iterator[pa.RecordBatch]:
    """Iterate over answered records of one version whose first label came between two whole hours.

    They have ``inputs``, ``outputs`` and ``label``. Copies of a shadow are left out. Raises what
    `LogReader.tables` raises, also if no label came, and `UsageError` for a file that is damaged.
    """
    most_delay_s = MOST_DELAY_OF_BUCKET_S if log.is_remote else MOST_DELAY_S
    with log.tables(model, since - most_delay_s, until, with_views=False) as tables:
        search = _Search(tables, since, until)
        try:
            if search.locate():
                yield from search.records(digest)
        except duckdb.Error as error:
            sentence = one_line(error)
            where = f"prediction log `{log.where}`"
            raise UsageError(where, expected="files that DuckDB reads", found=sentence) from None


class _Search:
    """One search: the labels of the hours asked for, and where their records are."""

    def __init__(self, tables: Tables, since: float, until: float) -> None:
        self._tables = tables
        self._run = tables.connection.execute
        self._since, self._until = since, until
        self._hours: dict[int, list[Path]] = {}
        for hour, path in tables.files:
            self._hours.setdefault(hour, []).append(path)

    def locate(self) -> bool:
        """Find the records, and leave out what was labelled before; return whether anything is left."""
        new = [path for hour, path in self._tables.label_files if self._since <= hour < self._until]
        if not new:
            return False
        self._run(f"CREATE TEMP TABLE asked AS {labels_sql(new)}")
        self._run("CREATE TEMP TABLE located (id VARCHAR, row INTEGER, time TIMESTAMPTZ)")
        hours, size = sorted(self._hours, reverse=True), 1
        # Most labels come soon. Each step reads as many hours as all before, so that the last one, which
        # finds the rest, is at most half of what is read.
        while hours and self._count("asked") > self._count("located"):
            self._locate([path for hour in hours[:size] for path in self._hours[hour]])
            hours, size = hours[size:], 2 * size
        self._leave_out_known()
        return self._count("located") > 0

    def _locate(self, paths: list[Path]) -> None:
        # The last of several records: a client that tries again sends the same id.
        self._run(
            f"INSERT INTO located SELECT id, row, max(time) FROM ({files_sql(paths)}) AS r "
            "WHERE side <> 'shadow' AND EXISTS (FROM asked a WHERE a.id = r.id AND a.row = r.row) "
            "AND NOT EXISTS (FROM located l WHERE l.id = r.id AND l.row = r.row) GROUP BY id, row"
        )

    def _leave_out_known(self) -> None:
        """Remove records that had a label before: the first one was counted."""
        (first,) = self._run("SELECT min(epoch(time)) FROM located").fetchone() or (None,)
        if first is None:
            return
        # A label comes after its answer, by clocks that differ by less than an hour.
        begin = first - 2 * HOUR_S
        before = [path for hour, path in self._tables.label_files if begin <= hour < self._since]
        if before:
            self._run(
                "DELETE FROM located WHERE EXISTS "
                f"(FROM ({labels_sql(before)}) AS b WHERE b.id = located.id AND b.row = located.row)"
            )

    def records(self, digest: str) -> Iterator[pa.RecordBatch]:
        """Iterate over the records that were found, of the version of this digest."""
        hour_of = f"epoch_us(time) // {HOUR_S * 1_000_000} * {HOUR_S}"
        hours = self._run(f"SELECT DISTINCT {hour_of} AS hour FROM located ORDER BY hour").fetchall()
        for (hour,) in hours:
            paths = self._hours[hour]
            source = records_sql(paths, lacking=self._tables.lacking_of(paths))
            begin, end = timestamp(hour), timestamp(hour + HOUR_S)
            relation = self._tables.connection.sql(
                f"SELECT r.inputs, r.outputs, a.label FROM ({source}) AS r "
                "JOIN located l ON r.id = l.id AND r.row = l.row AND r.time = l.time "
                "JOIN asked a ON r.id = a.id AND r.row = a.row "
                f"WHERE r.digest = {literal(digest)} AND r.side <> 'shadow' AND r.error IS NULL "
                f"AND l.time >= {begin} AND l.time < {end}"
            )
            yield from arrow_reader(relation, _CHUNK_ROWS)

    def _count(self, table: str) -> int:
        (count,) = self._run(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        return int(count)


def median_delay_s(log: LogReader, model: str, since: float, until: float, version: int) -> float | None:
    """Return the median time from an answer of a version to its label, of answers between two Unix times.

    None if none has a label. Raises what `LogReader.records` raises.
    """
    delay = "epoch_us(labelled_at) - epoch_us(time) AS delay"
    where = f"label IS NOT NULL AND version = {version}"
    parts = [batch.column(0).to_numpy() for batch in log.records(model, since, until, (delay,), where)]
    delays = np.concatenate(parts) if parts else np.empty(0)
    return float(np.median(delays)) / 1e6 if delays.size else None
