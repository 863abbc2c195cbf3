"""Pieces of statements that several sets of rows share: the clock, upserts, JSON in columns, pruning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, or_, select


def upsert(connection: Connection, table: Table) -> Any:
    """Return an INSERT that has ``on_conflict_do_update`` and ``on_conflict_do_nothing``."""
    # Both have the same ON CONFLICT, but SQLAlchemy keeps it in each dialect, and each takes long to load.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def unix_now(connection: Connection) -> ColumnElement[float]:
    """Return the Unix time of the database as an expression."""
    if connection.dialect.name == "postgresql":
        # Not `now()`, which stands still within a transaction.
        return func.date_part("epoch", func.clock_timestamp())
    # 2440587.5 is the Julian day of 1970-01-01.
    return (func.julianday("now") - 2440587.5) * 86400.0


def json_text(value: object) -> str:
    """Return a value as JSON for a column."""
    return msgspec.json.encode(value, order="deterministic").decode()


def within(
    at: ColumnElement[float], spans: Sequence[tuple[float, float]], *rules: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Return that a row meets all rules, and that its time is within one of the spans."""
    # The rules in each: SQLite then looks up every span in the index. A join it turns round, and reads all.
    return or_(*(and_(*rules, at >= since, at < until) for since, until in spans))


def prune_rows(connection: Connection, table: Table, *rules: ColumnElement[bool], dry_run: bool) -> int:
    """Delete the rows that meet all rules, or with `dry_run` none; return how many there are."""
    if dry_run:
        return connection.execute(select(func.count()).select_from(table).where(*rules)).scalar_one()
    return connection.execute(delete(table).where(*rules)).rowcount
