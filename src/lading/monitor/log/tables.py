"""The SQL over a log's files: views of records and of labels, and their join. Runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

COLUMNS = {
    "id": "VARCHAR",
    "row": "INTEGER",
    "time": "TIMESTAMPTZ",
    "model": "VARCHAR",
    "version": "INTEGER",
    "digest": "VARCHAR",
    "release": "INTEGER",
    "side": "VARCHAR",
    "replica": "VARCHAR",
    "status": "VARCHAR",
    "error": "VARCHAR",
    "latency_s": "DOUBLE",
    "warnings": "VARCHAR[]",
    "inputs": "STRUCT(nothing BOOLEAN)",
    "outputs": "STRUCT(nothing BOOLEAN)",
    "date": "DATE",
    "hour": "INTEGER",
}
"""The columns of `log`, before those of labels, with their types where no record has one."""

LABEL_COLUMNS = {"label": "VARCHAR", "labelled_at": "TIMESTAMPTZ"}

# Without a type DuckDB takes `hour=04` for a text, and `hour = 4` would find nothing.
_HIVE = "hive_partitioning = true, hive_types = {'date': DATE, 'hour': INTEGER}, union_by_name = true"


def records_sql(files: Sequence[Path], *, lacking: Sequence[str] = (), positions: bool = False) -> str:
    """Return the query of all records in `files`; `positions` adds where each is: file and row in it.

    Versions may have other columns: those that a file does not have are NULL there. `lacking` are columns
    that no file has, such as the outputs of a model that has failed only.
    """
    if not files:
        empty = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in COLUMNS.items())
        return f"SELECT {empty} WHERE false"
    columns = [quoted(name) for name in COLUMNS if name not in lacking]
    columns += [f"NULL::{COLUMNS[name]} AS {quoted(name)}" for name in lacking]
    if positions:
        columns += ["filename", "file_row_number"]
    return f"SELECT {', '.join(columns)} FROM ({files_sql(files, positions=positions)})"


def files_sql(files: Sequence[Path], *, positions: bool = False) -> str:
    """Return the query of all that files hold, whatever their columns."""
    extra = ", filename = true, file_row_number = true" if positions else ""
    return f"FROM read_parquet([{_paths(files)}], {_HIVE}{extra})"


def labels_sql(files: Sequence[Path]) -> str:
    """Return the query of the labels in `files`: for each row of an answer the one that came first."""
    if not files:
        return (
            "SELECT NULL::VARCHAR AS id, NULL::INTEGER AS row, NULL::VARCHAR AS label, "
            "NULL::TIMESTAMPTZ AS labelled_at WHERE false"
        )
    # `arg_min` keeps the first: a client that sends a label twice has meant the first answer to it.
    return (
        "SELECT id, row, arg_min(label, labelled_at) AS label, min(labelled_at) AS labelled_at "
        f"FROM read_parquet([{_paths(files)}], union_by_name = true) GROUP BY id, row"
    )


def joined_sql(records: str, labels: str) -> str:
    """Return the query of the view or query `records` with the labels of `labels`, once a record."""
    return (
        f"SELECT r.*, l.label, l.labelled_at FROM {records} r "
        f"LEFT JOIN {labels} l ON r.id = l.id AND r.row = l.row"
    )


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _paths(files: Iterable[Path]) -> str:
    return ", ".join(literal(str(file)) for file in files)
