"""Windows of live traffic, and feedback on its way, in SQL. Nothing here is history: it is pruned by age.

Feedback goes from the process that received it to the one that gave the answer. Readers go by rising ids, so
rows must appear in the order of their ids: one transaction adds at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import msgspec
from sqlalchemy import Connection, delete, exists, func, insert, select

from lading.registry.catalog.monitoring import Span
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.statements import json_text, prune_rows, unix_now, upsert, within
from lading.registry.catalog.sql.tables import feedback as feedback_table
from lading.registry.catalog.sql.tables import releases
from lading.registry.catalog.sql.tables import windows as windows_table
from lading.registry.records import Removed
from lading.release import OPEN_STATES
from lading.traffic import FEEDBACK_MOST_BYTES, Feedback, Labels, Window

# The advisory lock of transactions that add feedback: ``feedback`` as a number.
_LOCK = 0x666565646261636B


class SqlTraffic:
    """A `TrafficCatalog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_windows(self, windows: Sequence[Window]) -> None:
        """Add windows; one whose id exists already stays as it is."""
        if not windows:
            return
        rows = [
            {
                "id": window.id,
                "name": window.name,
                "release": window.release,
                "at": window.at,
                "body": json_text(window),
            }
            for window in windows
        ]
        with self._database.transaction("write") as connection:
            connection.execute(upsert(connection, windows_table).on_conflict_do_nothing(), rows)

    def windows(self, name: str, release: int, since: float | None) -> list[Window]:
        """Return the windows of a release that began at the Unix time `since` or later, oldest first."""
        columns = windows_table.c
        query = select(columns.body).where(columns.name == name, columns.release == release)
        if since is not None:
            query = query.where(columns.at >= since)
        with self._database.transaction("read") as connection:
            bodies = connection.execute(query.order_by(columns.at, columns.id)).scalars()
            return [msgspec.json.decode(body, type=Window) for body in bodies]

    def labels(self, name: str, releases: Sequence[int], spans: Sequence[Span]) -> list[Labels]:
        """Return the labels in windows of these releases that began within one of the spans, oldest first."""
        if not (releases and spans):
            return []
        columns = windows_table.c
        rules = (columns.name == name, columns.release.in_(releases))
        query = select(columns.body).where(within(columns.at, spans, *rules))
        query = query.order_by(columns.at, columns.id)
        with self._database.transaction("read") as connection:
            # Most of a window is latency and outputs, which nobody asked for: they are skipped, not read.
            bodies = connection.execute(query).scalars()
            everything = (msgspec.json.decode(body, type=Labels) for body in bodies)
            return [labels for labels in everything if labels.feedback.right + labels.feedback.wrong]

    def add_feedback(self, feedback: Sequence[Feedback], *, kept_s: float) -> int:
        """Pass on as much feedback as has room, and return how many; drop what is older than that."""
        if not feedback:
            return 0
        columns = feedback_table.c
        with self._database.transaction("write") as connection:
            _lock_feedback(connection)
            now = connection.execute(select(unix_now(connection))).scalar_one()
            connection.execute(delete(feedback_table).where(columns.at < now - kept_s))
            held = connection.execute(select(func.coalesce(func.sum(func.length(columns.body)), 0)))
            sizes = accumulate(map(len, bodies := list(map(json_text, feedback))))
            room = FEEDBACK_MOST_BYTES - int(held.scalar_one())
            rows = [
                {"at": now, "body": body} for body, size in zip(bodies, sizes, strict=True) if size <= room
            ]
            if rows:
                connection.execute(insert(feedback_table), rows)
        return len(rows)

    def feedback(self, after: int | None) -> tuple[int, list[Feedback]]:
        """Return the next mark, and the feedback that came after the last one; without a mark only that."""
        columns = feedback_table.c
        with self._database.transaction("read") as connection:
            last = connection.execute(select(func.max(columns.id))).scalar() or 0
            if after is None:
                return last, []
            # Up to `last`: what is added meanwhile comes with the next call.
            query = select(columns.body).where(columns.id > after, columns.id <= last)
            bodies = connection.execute(query.order_by(columns.id)).scalars()
            return max(last, after), [msgspec.json.decode(body, type=Feedback) for body in bodies]

    def prune(self, older_than_s: float, *, dry_run: bool, feedback_kept_s: float) -> list[Removed]:
        """Remove windows of ended releases that are older than that, and feedback that is older."""
        columns = windows_table.c
        # A verdict may still need the windows of an open release, however old they are.
        running = exists().where(
            releases.c.name == columns.name,
            releases.c.number == columns.release,
            releases.c.state.in_(OPEN_STATES),
        )
        with self._database.transaction("read" if dry_run else "write") as connection:
            old = columns.at < unix_now(connection) - older_than_s
            count = prune_rows(connection, windows_table, old, ~running, dry_run=dry_run)
            missed = feedback_table.c.at < unix_now(connection) - feedback_kept_s
            unread = prune_rows(connection, feedback_table, missed, dry_run=dry_run)
        removed = [Removed("old windows", f"{count} windows", 0)] if count else []
        return [*removed, *([Removed("old feedback", f"{unread} rows", 0)] if unread else [])]


def _lock_feedback(connection: Connection) -> None:
    # In SQLite one transaction writes at a time anyway. PostgreSQL assigns ids before the commit: of two
    # transactions the one with the later id may commit first, and a reader would then skip the earlier one.
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
