"""Searching a log for people: the newest records first, hour by hour, until there are enough or time is up.

What is looked for comes as parameters and never becomes part of the SQL; names of columns are those that the
files have. Values are cut where they are read, so that a row of a million numbers costs no more than a short
one. Draws nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb
import msgspec

from lading.errors import UsageError, one_line
from lading.monitor.log.layout import HOUR_S
from lading.monitor.log.reader import LogReader, Tables, timestamp
from lading.monitor.log.tables import COLUMNS, files_sql, labels_sql, quoted, records_sql

Outcome = Literal["", "ok", "error", "warned"]
Labelled = Literal["", "yes", "no"]
Operator = Literal["eq", "ne", "lt", "gt", "has", "missing"]

_US = 1_000_000
_MARGIN_S = 0.001  # Times as floats are exact to less than that.
_NUMBERS = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "FLOAT", "DOUBLE",
)  # fmt: skip


class Position(msgspec.Struct, frozen=True):
    """The place of a record in the order of a search: its time in microseconds, its request, its row."""

    time_us: int
    id: str = ""
    row: int = 0
    side: str = ""


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """What records are looked for; what is empty is any. Times are Unix times.

    ``column`` is ``inputs.x`` or ``outputs.y``, and is compared with ``value`` by ``operator``.
    """

    since: float | None = None
    until: float | None = None
    version: int | None = None
    side: str = ""
    replica: str = ""
    request: str = ""
    outcome: Outcome = ""
    status: str = ""
    column: str = ""
    operator: Operator = "eq"
    value: str = ""
    labelled: Labelled = ""
    before: Position | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is returned, and of each record; ``seconds`` is how long a search may take."""

    rows: int = 50
    seconds: float = 4.0
    fields: int = 40
    text: int = 200
    values: int = 4


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A record. Inputs and outputs are texts by column, cut; ``more`` counts the columns left out."""

    id: str
    row: int
    time: float
    version: int | None
    digest: str | None
    release: int | None
    side: str | None
    replica: str | None
    status: str | None
    error: str | None
    latency_s: float | None
    warnings: list[str]
    inputs: dict[str, str | None]
    outputs: dict[str, str | None]
    more: int = 0
    label: str | None = None
    labelled_at: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Records, newest first. ``older`` is where more may be, None after the last.

    ``is_late`` says that time was up before there were enough; all records from ``searched_from`` on were
    looked at then. ``unread`` says which hours could not be read, and why. ``has_labels`` is false if there
    was no time for the labels, so that nothing is known of them.
    """

    records: list[Found]
    older: Position | None
    is_late: bool
    searched_from: float | None
    unread: list[str]
    has_labels: bool
    columns: list[str]


def search(log: LogReader, model: str, sought: Sought, limits: Limits) -> Result:
    """Search the records of a model. Raises `ModelNotFound`, and `UsageError` for a value that is no number.

    Reads in the memory that the log was opened with.
    """
    until = sought.until
    if sought.before is not None:
        reached = sought.before.time_us / _US + 1
        until = reached if until is None else min(until, reached)
    with log.tables(model, sought.since, until, with_views=False) as tables:
        return _Search(tables, sought, limits).run()


class _Search:
    """One search of a model's files, and what it has found so far."""

    def __init__(self, tables: Tables, sought: Sought, limits: Limits) -> None:
        self._tables, self._sought, self._limits = tables, sought, limits
        self._ends_at = time.monotonic() + limits.seconds
        self._records: list[Found] = []
        self._columns: dict[str, None] = {}
        self._unread: list[str] = []
        self._hours: dict[int, list[Path]] = {}
        for hour, path in tables.files:
            self._hours.setdefault(hour, []).append(path)

    def run(self) -> Result:
        """Go through the hours, the newest first."""
        # A query cannot be given a time; another thread ends it.
        timer = threading.Timer(self._limits.seconds, self._tables.connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            left = self._search_hours()
            is_late = bool(left) and len(self._records) <= self._limits.rows
            has_labels = self._add_labels()
        finally:
            timer.cancel()
        searched = [hour for hour in self._hours if not left or hour > left[0]]
        # One more than is wanted was looked for, which says that there are older ones.
        records = self._records[: self._limits.rows]
        older = None
        if len(self._records) > self._limits.rows:
            last = records[-1]
            older = Position(round(last.time * _US), last.id, last.row, last.side or "")
        elif left:  # The hour in which time was up is searched again as a whole.
            older = Position((left[0] + HOUR_S) * _US)
        return Result(
            records=records,
            older=older,
            is_late=is_late,
            searched_from=min(searched) if searched else None,
            unread=self._unread,
            has_labels=has_labels,
            columns=list(self._columns)[:_MOST_COLUMNS],
        )

    def _search_hours(self) -> list[int]:
        """Search until there are enough records or time is up; return the hours left, newest first."""
        hours = sorted(self._hours, reverse=True)
        for at, hour in enumerate(hours):
            if len(self._records) > self._limits.rows or time.monotonic() > self._ends_at:
                return hours[at:]
            try:
                self._search_hour(hour)
            except duckdb.InterruptException:
                return hours[at:]
            except duckdb.Error as error:
                # One damaged file, or one that has just been removed, hides no other hour.
                self._unread.append(f"{_hour_text(hour)}: {one_line(error)[:_LONGEST_ERROR]}")
        return []

    def _search_hour(self, hour: int) -> None:
        paths = self._hours[hour]
        # Versions have other columns, and so have hours: what can be compared is known for each hour alone.
        described = self._run(f"DESCRIBE {files_sql(paths)}").fetchall()
        source = files_sql(paths, positions=True)
        kinds = self._tables.connection.sql(source)
        fields = _fields(dict(zip(kinds.columns, kinds.types, strict=True)))
        self._columns.update(dict.fromkeys(fields))
        lacking = tuple(name for name in COLUMNS if name not in {row[0] for row in described})
        records = records_sql(paths, lacking=lacking, positions=True)
        conditions, parameters = self._conditions(hour, fields)
        if conditions is None:
            return
        most = self._limits.rows + 1 - len(self._records)
        # Positions first: rows of images are read only of the records that are returned.
        places = self._run(
            f"SELECT filename, file_row_number, epoch_us(time) FROM ({records}) AS r "
            f"WHERE {' AND '.join(conditions)} ORDER BY time DESC, id DESC, row DESC, side DESC LIMIT {most}",
            parameters,
        ).fetchall()
        if places:
            self._records += self._read(records, fields, places)

    def _read(
        self, records: str, fields: Mapping[str, Any], places: Sequence[tuple[str, int, int]]
    ) -> list[Found]:
        listed: list[tuple[str, Any]] = []
        for group in ("inputs.", "outputs."):
            own = [(name, kind) for name, kind in fields.items() if name.startswith(group)]
            listed += own[: self._limits.fields]
        cells = [part for name, kind in listed for part in self._cell(name, kind)]
        # The times let DuckDB pass over every row group but those of these records.
        first, last = (limit(at for *_, at in places) / _US for limit in (min, max))
        rows = self._run(
            f"SELECT {', '.join([*_OWN, *cells])} FROM ({records}) AS r "
            f"WHERE time >= {timestamp(first - _MARGIN_S)} AND time <= {timestamp(last + _MARGIN_S)} "
            "AND (filename, file_row_number) IN (SELECT unnest(?::VARCHAR[]), unnest(?::BIGINT[])) "
            "ORDER BY time DESC, id DESC, row DESC, side DESC",
            [[name for name, *_ in places], [row for _, row, _ in places]],
        ).fetchall()
        return [self._record(row, listed, len(fields)) for row in rows]

    def _cell(self, name: str, kind: Any) -> tuple[str, str]:
        """Return the SQL of a value as text, cut, and of its length or sizes."""
        value, sizes = _field_sql(name), []
        while kind.id == "list":
            sizes.append(f"len({value})")
            kind = kind.children[0][1]
            if kind.id == "list":
                value = f"{value}[1]"  # Of nested lists the first row stands for all.
        if sizes:
            text = f"CAST({value}[1:{self._limits.values}] AS VARCHAR)"
            return f"left({text}, {self._limits.text})", f"concat_ws(' × ', {', '.join(sizes)})"
        text = f"CAST({value} AS VARCHAR)"
        return f"left({text}, {self._limits.text})", f"CAST(length({text}) AS VARCHAR)"

    def _record(self, row: Sequence[Any], listed: Sequence[tuple[str, Any]], of: int) -> Found:
        own, cells = row[: len(_OWN)], row[len(_OWN) :]
        values: dict[str, dict[str, str | None]] = {"inputs": {}, "outputs": {}}
        for at, (name, kind) in enumerate(listed):
            group, _, column = name.partition(".")
            text, size = cells[2 * at : 2 * at + 2]
            values[group][column] = _cut(text, size, self._limits, is_list=kind.id == "list")
        plain: dict[str, Any] = dict(zip(_OWN_NAMES, own, strict=True))
        plain["time"] /= _US
        plain["warnings"] = [text[: self._limits.text] for text in plain["warnings"] or ()]
        return Found(**plain, inputs=values["inputs"], outputs=values["outputs"], more=of - len(listed))

    def _conditions(self, hour: int, fields: Mapping[str, Any]) -> tuple[list[str] | None, list[Any]]:
        """Return conditions with their parameters; no list if no record of the hour can match."""
        sought = self._sought
        # Each condition with its parameter beside it, so that their order cannot differ.
        conditions, parameters = ["true"], []
        wanted: list[tuple[str, Any]] = [
            ("epoch_us(time) >= ?", None if sought.since is None else round(sought.since * _US)),
            ("epoch_us(time) < ?", None if sought.until is None else round(sought.until * _US)),
            ("version = ?", sought.version),
            ("side = ?", sought.side or None),
            ("replica = ?", sought.replica or None),
            ("id = ?", sought.request or None),
            ("status = ?", sought.status or None),
        ]
        for sql, value in wanted:
            if value is not None:
                conditions.append(sql)
                parameters.append(value)
        if sought.outcome:
            conditions.append(_OUTCOMES[sought.outcome])
        if sought.column:
            if sought.column not in fields:
                # What no record of the hour has is missing in all of them.
                return (conditions, parameters) if sought.operator == "missing" else (None, [])
            sql, values = _comparison(sought, fields[sought.column])
            conditions.append(sql)
            parameters += values
        if sought.labelled:
            conditions.append(f"{'' if sought.labelled == 'yes' else 'NOT '}({self._has_label(hour)})")
        if sought.before is not None:
            before = sought.before
            conditions.append("(epoch_us(time), id, row, side) < (?, ?, ?, ?)")
            parameters += [before.time_us, before.id, before.row, before.side]
        return conditions, parameters

    def _has_label(self, hour: int) -> str:
        files = self._labels_from(hour)
        if not files:
            return "false"
        return f"(r.id, r.row) IN (SELECT id, row FROM ({labels_sql(files)}))"

    def _labels_from(self, hour: float) -> list[Path]:
        # A label comes after its answer, by clocks that differ by less than an hour.
        return [path for at, path in self._tables.label_files if at + 2 * HOUR_S > hour]

    def _add_labels(self) -> bool:
        """Add the labels of the records; return whether there was time for them."""
        if not self._records:
            return True
        files = self._labels_from(min(record.time for record in self._records))
        if not files:
            return True
        try:
            rows = self._run(
                f"SELECT id, row, left(label, {self._limits.text}), CAST(length(label) AS VARCHAR), "
                f"epoch_us(labelled_at) FROM ({labels_sql(files)}) "
                "WHERE id IN (SELECT unnest(?::VARCHAR[]))",
                [[record.id for record in self._records]],
            ).fetchall()
        except duckdb.Error:
            return (
                False  # Records without labels are still what was looked for; the page says what is missing.
            )
        labels = {
            (id, row): (_cut(label, size, self._limits, is_list=False), at / _US)
            for id, row, label, size, at in rows
        }
        self._records = [
            msgspec.structs.replace(record, label=known[0], labelled_at=known[1])
            if (known := labels.get((record.id, record.row))) is not None
            else record
            for record in self._records
        ]
        return True

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        if time.monotonic() > self._ends_at:
            raise duckdb.InterruptException("time is up")
        return self._tables.connection.execute(sql, list(parameters))  # Values are parameters, always.


_MOST_COLUMNS = 1000
_LONGEST_ERROR = 200
_OUTCOMES: Mapping[str, str] = {
    "ok": "error IS NULL",
    "error": "error IS NOT NULL",
    "warned": "len(warnings) > 0",
}
_OPERATORS: Mapping[str, str] = {"eq": "=", "ne": "<>", "lt": "<", "gt": ">"}
_OWN_NAMES = (
    "id", "row", "time", "version", "digest", "release", "side", "replica", "status", "error", "latency_s",
    "warnings",
)  # fmt: skip
# As microseconds: times of DuckDB need another library in Python. An error may be as long as its model likes.
_SPECIAL = {"time": "epoch_us(time)", "error": "left(error, 500)"}
_OWN = tuple(_SPECIAL.get(name, quoted(name)) for name in _OWN_NAMES)


def _fields(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the types of the columns of inputs and outputs, by ``inputs.x``."""
    return {
        f"{group}.{name}": kind
        for group in ("inputs", "outputs")
        if group in columns and columns[group].id == "struct"
        for name, kind in columns[group].children
    }


def _field_sql(name: str) -> str:
    group, _, column = name.partition(".")
    return f"r.{group}.{quoted(column)}"


def _comparison(sought: Sought, kind: Any) -> tuple[str, list[Any]]:
    """Return the condition on one column. Its name is one of the files'; the value is a parameter."""
    value = _field_sql(sought.column)
    if sought.operator == "missing":
        return f"{value} IS NULL", []
    if kind.id == "list":
        hint = "of lists, only whether they are missing can be asked"
        raise UsageError("`column`", expected="a column of single values", found="a list", hint=hint)
    if sought.operator == "has":
        return f"contains(CAST({value} AS VARCHAR), ?)", [sought.value]
    operator = _OPERATORS[sought.operator]
    if str(kind) not in _NUMBERS:
        return f"CAST({value} AS VARCHAR) {operator} ?", [sought.value]
    try:
        number = float(sought.value)
    except ValueError:
        where = f"`value` of `{sought.column[:80]}`"
        raise UsageError(where, expected="a number", found=f"`{sought.value[:80]}`") from None
    # 5.1 is another number in float32: the value is compared as the column has it.
    return (f"{value} {operator} CAST(? AS {kind})" if kind.id == "float" else f"{value} {operator} ?"), [
        number
    ]


def _cut(text: str | None, size: str | None, limits: Limits, *, is_list: bool) -> str | None:
    """Return a value as text: with "…" and its length if it is cut, a list with its sizes."""
    if text is None or size is None:
        return None
    if not is_list:
        return f"{text}… ({int(size):,})" if int(size) > limits.text else text
    # Sizes of nested lists are "3 × 224": of those never everything is here.
    is_whole = size.isdigit() and int(size) <= limits.values and text.endswith("]")
    inner = text.removeprefix("[").removesuffix("]")
    return inner if is_whole else f"{inner}, … ({size})"


def _hour_text(hour: int) -> str:
    return time.strftime("%Y-%m-%d %H:00 UTC", time.gmtime(hour))
