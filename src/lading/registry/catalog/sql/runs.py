"""Runs over data sets in SQL, by the clock of the database. Pruned by age; nothing here is history."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, select, tuple_

from lading.registry.catalog.runs import RunQuery
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.statements import json_text, prune_rows, unix_now, upsert
from lading.registry.catalog.sql.tables import runs
from lading.registry.records import Removed
from lading.runs import LOST_AFTER_S, Run, RunState


class SqlRuns:
    """A `RunCatalog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, run: Run) -> None:
        """Store a run, or what has become of it since; it reports now, and ends now unless it runs."""
        with self._database.transaction("write") as connection:
            now = unix_now(connection)
            values = {
                "state": run.state,
                "heard_at": now,
                "ended_at": 0.0 if run.state == "running" else now,
                "body": json_text(run),
            }
            query = upsert(connection, runs).values(
                id=run.id, kind=run.kind, name=run.name, began_at=now, **values
            )
            # When it began stays: a run that goes on after a crash is the same run.
            connection.execute(query.on_conflict_do_update(index_elements=["id"], set_=values))

    def find(self, run_id: str) -> Run | None:
        """Return a run, or None without one; ``lost`` if it ought to run but has long been silent."""
        with self._database.transaction("read") as connection:
            row = connection.execute(_selected(unix_now(connection)).where(runs.c.id == run_id)).first()
        return None if row is None else _run(row)

    def page(self, asked: RunQuery, limit: int) -> list[Run]:
        """Return at most `limit` runs that began before a place, last begun first."""
        columns = runs.c
        with self._database.transaction("read") as connection:
            now = unix_now(connection)
            query = _selected(now)
            if asked.name is not None:
                query = query.where(columns.name == asked.name)
            if asked.kind is not None:
                query = query.where(columns.kind == asked.kind)
            if asked.state is not None:
                query = query.where(_in_state(asked.state, now))
            if asked.before is not None:
                # Behind a place and not after so many: what begins meanwhile moves nothing.
                query = query.where(tuple_(columns.began_at, columns.id) < tuple_(*asked.before))
            query = query.order_by(columns.began_at.desc(), columns.id.desc()).limit(limit)
            return [_run(row) for row in connection.execute(query)]

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove runs that last reported longer ago than that."""
        with self._database.transaction("read" if dry_run else "write") as connection:
            rule = runs.c.heard_at < unix_now(connection) - older_than_s
            count = prune_rows(connection, runs, rule, dry_run=dry_run)
        return [Removed("old runs", f"{count} runs", 0)] if count else []


def _selected(now: ColumnElement[float]) -> Select[Any]:
    silent = (now - runs.c.heard_at).label("silent")
    return select(runs.c.body, runs.c.state, runs.c.began_at, runs.c.heard_at, runs.c.ended_at, silent)


def _in_state(state: RunState, now: ColumnElement[float]) -> ColumnElement[bool]:
    # What is lost says itself that it runs: nobody was left to write otherwise.
    silent = runs.c.heard_at < now - LOST_AFTER_S
    if state == "lost":
        return and_(runs.c.state == "running", silent)
    return and_(runs.c.state == state, ~silent) if state == "running" else runs.c.state == state


def _run(row: Row[Any]) -> Run:
    is_lost = row.state == "running" and row.silent > LOST_AFTER_S
    return msgspec.structs.replace(
        msgspec.json.decode(row.body, type=Run),
        state="lost" if is_lost else row.state,
        began_at=row.began_at,
        heard_at=row.heard_at,
        ended_at=row.ended_at,
    )
