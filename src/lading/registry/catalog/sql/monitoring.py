"""Rows about monitoring in SQL. Windows and ended alarms are pruned by age; nothing here is history.

The driver reads windows by rising numbers, so rows must appear in the order of their numbers: one transaction
adds at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, delete, func, select, tuple_

from lading.alarms import Alarm, Baseline
from lading.profile.live import ColumnWindow
from lading.registry.catalog.monitoring import AlarmQuery, Span, StateKind
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.statements import json_text, prune_rows, unix_now, upsert, within
from lading.registry.catalog.sql.tables import (
    alarms as alarms_table,
)
from lading.registry.catalog.sql.tables import (
    baselines,
    column_windows,
    monitor_states,
    profiles,
)
from lading.registry.records import Removed

# The advisory lock of transactions that add windows: ``columns`` as a number.
_LOCK = 0x636F6C756D6E73


class SqlMonitoring:
    """A `MonitoringCatalog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_column_windows(self, windows: Sequence[ColumnWindow]) -> None:
        """Add windows; one whose id exists already stays as it is."""
        if not windows:
            return
        rows = [
            {"id": window.id, "name": window.name, "at": window.at, "body": json_text(window)}
            for window in windows
        ]
        with self._database.transaction("write") as connection:
            _lock_windows(connection)
            # A server that does not know whether a window arrived sends it again: by its id it counts once.
            query = upsert(connection, column_windows)
            connection.execute(query.on_conflict_do_nothing(index_elements=["id"]), rows)

    def column_windows(self, name: str, since: float, until: float | None) -> list[ColumnWindow]:
        """Return the windows of a model that began at `since` or later and before `until`, oldest first."""
        columns = column_windows.c
        query = select(columns.body).where(columns.name == name, columns.at >= since)
        if until is not None:
            query = query.where(columns.at < until)
        with self._database.transaction("read") as connection:
            # Windows of several replicas may begin at the same moment: their numbers keep the order the same.
            bodies = connection.execute(query.order_by(columns.at, columns.number)).scalars()
            return [msgspec.json.decode(body, type=ColumnWindow) for body in bodies]

    def newest_window(self, name: str, since: float, until: float) -> tuple[int, ColumnWindow | None]:
        """Return how many windows began in a period, and that which began last."""
        columns = column_windows.c
        rules = (columns.name == name, columns.at >= since, columns.at < until)
        newest = (
            select(columns.body).where(*rules).order_by(columns.at.desc(), columns.number.desc()).limit(1)
        )
        # Both in one statement: a window that is added between two could be missing from one of them.
        count = select(func.count()).where(*rules).scalar_subquery()
        with self._database.transaction("read") as connection:
            row = connection.execute(select(count, newest.scalar_subquery())).one()
        return row[0], msgspec.json.decode(row[1], type=ColumnWindow) if row[1] is not None else None

    def windows_within(self, name: str, spans: Sequence[Span]) -> list[ColumnWindow]:
        """Return the windows of a model that began within one of the spans, oldest first."""
        if not spans:
            return []
        columns = column_windows.c
        query = select(columns.body).where(within(columns.at, spans, columns.name == name))
        query = query.order_by(columns.at, columns.number)
        with self._database.transaction("read") as connection:
            bodies = connection.execute(query).scalars()
            return [msgspec.json.decode(body, type=ColumnWindow) for body in bodies]

    def windows_after(self, mark: int, limit: int) -> tuple[int, list[ColumnWindow]]:
        """Return the next mark, and at most `limit` windows of all models that came after `mark`."""
        columns = column_windows.c
        query = select(columns.number, columns.body).where(columns.number > mark)
        with self._database.transaction("read") as connection:
            rows = connection.execute(query.order_by(columns.number).limit(limit)).all()
        windows = [msgspec.json.decode(row.body, type=ColumnWindow) for row in rows]
        # Numbers rise with the commits, so that nothing that comes later is below the mark.
        return (rows[-1].number if rows else mark), windows

    def watched(self) -> list[str]:
        """Return the names of the models that have windows."""
        with self._database.transaction("read") as connection:
            query = select(column_windows.c.name).distinct().order_by(column_windows.c.name)
            return list(connection.execute(query).scalars())

    def add_profile(self, digest: str, body: str) -> None:
        """Store the JSON of a profile by its digest; one that exists stays as it is."""
        with self._database.transaction("write") as connection:
            query = upsert(connection, profiles).values(digest=digest, body=body)
            connection.execute(query.on_conflict_do_nothing(index_elements=["digest"]))

    def profile(self, digest: str) -> str | None:
        """Return the JSON of a profile, or None if no server has counted by it."""
        with self._database.transaction("read") as connection:
            query = select(profiles.c.body).where(profiles.c.digest == digest)
            return connection.execute(query).scalar()

    def set_baseline(self, baseline: Baseline) -> None:
        """Replace the reference of a model."""
        with self._database.transaction("write") as connection:
            values = {"body": json_text(baseline)}
            query = upsert(connection, baselines).values(name=baseline.name, **values)
            connection.execute(query.on_conflict_do_update(index_elements=["name"], set_=values))

    def remove_baseline(self, name: str) -> bool:
        """Go back to the profiles of the bundles; return whether there was a baseline."""
        with self._database.transaction("write") as connection:
            return connection.execute(delete(baselines).where(baselines.c.name == name)).rowcount > 0

    def baselines(self) -> list[Baseline]:
        """Return all baselines, by name."""
        with self._database.transaction("read") as connection:
            bodies = connection.execute(select(baselines.c.body).order_by(baselines.c.name)).scalars()
            return [msgspec.json.decode(body, type=Baseline) for body in bodies]

    def states(self, kind: StateKind) -> dict[str, str]:
        """Return the JSON of what is under way, by key."""
        columns = monitor_states.c
        with self._database.transaction("read") as connection:
            query = select(columns.key, columns.body).where(columns.kind == kind)
            return {row.key: row.body for row in connection.execute(query)}

    def state(self, kind: StateKind, key: str) -> str | None:
        """Return the JSON of one state, or None if nothing is under way there."""
        columns = monitor_states.c
        with self._database.transaction("read") as connection:
            query = select(columns.body).where(columns.kind == kind, columns.key == key)
            return connection.execute(query).scalar()

    def save(
        self, kind: StateKind, changed: Mapping[str, str], removed: Sequence[str], alarms: Sequence[Alarm]
    ) -> None:
        """Store states and alarms, and remove states, together; an alarm replaces that of its id."""
        # One transaction: a driver that is killed here leaves a test with its alarms, or neither.
        with self._database.transaction("write") as connection:
            for key, body in changed.items():
                query = upsert(connection, monitor_states).values(kind=kind, key=key, body=body)
                connection.execute(
                    query.on_conflict_do_update(index_elements=["kind", "key"], set_={"body": body})
                )
            if removed:
                columns = monitor_states.c
                connection.execute(
                    delete(monitor_states).where(columns.kind == kind, columns.key.in_(removed))
                )
            for alarm in alarms:
                _put_alarm(connection, alarm)

    def alarms(self, name: str | None, *, open_only: bool, limit: int) -> list[Alarm]:
        """Return alarms of one model or of all, those that were raised last first."""
        columns = alarms_table.c
        query = select(columns.body)
        if name is not None:
            query = query.where(columns.name == name)
        if open_only:
            query = query.where(columns.ended_at == 0)
        with self._database.transaction("read") as connection:
            query = query.order_by(columns.raised_at.desc(), columns.id).limit(limit)
            return [msgspec.json.decode(body, type=Alarm) for body in connection.execute(query).scalars()]

    def alarm_page(self, asked: AlarmQuery, limit: int) -> list[Alarm]:
        """Return at most `limit` alarms that were raised before a place, last raised first."""
        columns = alarms_table.c
        # By the index of a model, or else that of all: filters look at the alarms in their order.
        query = select(columns.body)
        if asked.name is not None:
            query = query.where(columns.name == asked.name)
        if asked.is_open is not None:
            query = query.where(columns.ended_at == 0 if asked.is_open else columns.ended_at > 0)
        if asked.kind is not None:
            # No text of an alarm looks like this: within a text, JSON has a backslash before each quote.
            query = query.where(columns.body.contains(f'"kind":"{asked.kind}"', autoescape=True))
        if asked.before is not None:
            # Behind a place and not after so many: what is raised meanwhile moves nothing.
            query = query.where(tuple_(columns.raised_at, columns.id) < tuple_(*asked.before))
        with self._database.transaction("read") as connection:
            query = query.order_by(columns.raised_at.desc(), columns.id.desc()).limit(limit)
            return [msgspec.json.decode(body, type=Alarm) for body in connection.execute(query).scalars()]

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove windows and ended alarms that are older than that."""
        with self._database.transaction("read" if dry_run else "write") as connection:
            before = unix_now(connection) - older_than_s
            windows = prune_rows(connection, column_windows, column_windows.c.at < before, dry_run=dry_run)
            # Open alarms stay, however old they are: what they say still holds.
            ended = (alarms_table.c.ended_at > 0, alarms_table.c.ended_at < before)
            alarms = prune_rows(connection, alarms_table, *ended, dry_run=dry_run)
        removed = [Removed("old column windows", f"{windows} windows", 0)] if windows else []
        return [*removed, *([Removed("old alarms", f"{alarms} alarms", 0)] if alarms else [])]


def _put_alarm(connection: Connection, alarm: Alarm) -> None:
    values = {
        "name": alarm.name,
        "raised_at": alarm.raised_at,
        "ended_at": alarm.ended_at,
        "body": json_text(alarm),
    }
    query = upsert(connection, alarms_table).values(id=alarm.id, **values)
    connection.execute(query.on_conflict_do_update(index_elements=["id"], set_=values))


def _lock_windows(connection: Connection) -> None:
    # As for feedback: PostgreSQL gives numbers before the commit, and a reader would skip the earlier one.
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
