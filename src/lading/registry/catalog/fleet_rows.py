"""What runs, in SQL: windows of live traffic, leases and replicas, by the clock of the database.

Nothing here is history: windows and replicas are pruned by age, a lease is one row that changes hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, delete, exists, func, or_, select

from lading.clock import iso_time
from lading.registry.catalog.tables import leases, releases, replicas, windows
from lading.registry.catalog.transactions import Transactions
from lading.registry.catalog.version_rows import text
from lading.registry.records import Removed
from lading.release import OPEN_STATES
from lading.replica import GONE_AFTER_S, Replica
from lading.traffic import Window


class SqlFleet(Transactions):
    """The part of a catalog that knows what runs."""

    def add_windows(self, some: Sequence[Window]) -> None:
        """Add windows; one that is there already stays as it is."""
        if not some:
            return
        rows = [
            {"id": one.id, "name": one.name, "release": one.release, "at": one.at, "body": text(one)}
            for one in some
        ]
        with self.transaction("write") as connection:
            connection.execute(_insert(connection, windows).on_conflict_do_nothing(), rows)

    def windows(self, name: str, release: int, since: float | None) -> list[Window]:
        """List the windows of a release that began at the Unix time `since` or later, oldest first."""
        query = select(windows.c.body).where(windows.c.name == name, windows.c.release == release)
        if since is not None:
            query = query.where(windows.c.at >= since)
        with self.transaction("read") as connection:
            bodies = connection.execute(query.order_by(windows.c.at, windows.c.id)).scalars()
            return [msgspec.json.decode(body, type=Window) for body in bodies]

    def lease(self, what: str, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease, unless another holds one that has not run out; return whether it is held."""
        with self.transaction("write") as connection:
            now = now_of(connection)
            query = _insert(connection, leases).values(what=what, holder=holder, expires_at=now + ttl_s)
            free = or_(leases.c.holder == holder, leases.c.expires_at <= now)
            values = {"holder": holder, "expires_at": query.excluded.expires_at}
            query = query.on_conflict_do_update(index_elements=["what"], set_=values, where=free)
            return connection.execute(query.returning(leases.c.what)).first() is not None

    def release_lease(self, what: str, holder: str) -> None:
        """Give a lease back, if it is held."""
        with self.transaction("write") as connection:
            connection.execute(delete(leases).where(leases.c.what == what, leases.c.holder == holder))

    def lease_holder(self, what: str) -> str | None:
        """Return who holds a lease now; None if nobody does."""
        with self.transaction("read") as connection:
            held = (leases.c.what == what, leases.c.expires_at > now_of(connection))
            return connection.execute(select(leases.c.holder).where(*held)).scalar()

    def beat(self, replica: Replica) -> None:
        """Keep what a replica says of itself, and when."""
        with self.transaction("write") as connection:
            values = {"last_seen_at": now_of(connection), "body": text(replica)}
            query = _insert(connection, replicas).values(id=replica.id, **values)
            connection.execute(query.on_conflict_do_update(index_elements=["id"], set_=values))

    def replicas(self, silent_s: float) -> list[Replica]:
        """List the replicas that beat within the last `silent_s`, by id."""
        with self.transaction("read") as connection:
            return _replicas(connection, silent_s)

    def forget(self, replica_id: str) -> bool:
        """Take a replica off the list; return whether it was there."""
        with self.transaction("write") as connection:
            return connection.execute(delete(replicas).where(replicas.c.id == replica_id)).rowcount > 0

    def prune(self, windows_s: float, replicas_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove windows of ended releases and gone replicas that are older than that."""
        with self.transaction("write") as connection:
            now = connection.execute(select(now_of(connection))).scalar_one()
            running = exists().where(
                releases.c.name == windows.c.name,
                releases.c.number == windows.c.release,
                releases.c.state.in_(OPEN_STATES),
            )
            old: list[tuple[str, Table, tuple[ColumnElement[bool], ...]]] = [
                ("windows", windows, (windows.c.at < now - windows_s, ~running)),
                ("replicas", replicas, (replicas.c.last_seen_at < now - replicas_s,)),
            ]
            return [
                Removed(f"old {kind}", f"{count} {kind}", 0)
                for kind, table, rules in old
                if (count := _prune(connection, table, rules, dry_run=dry_run))
            ]


def replicas_with(connection: Connection, digest: str) -> list[str]:
    """List the ids of the running replicas that have a bundle loaded."""
    running = _replicas(connection, GONE_AFTER_S)
    return [one.id for one in running if not one.gone and any(model.digest == digest for model in one.models)]


def running_digests(connection: Connection) -> set[str]:
    """Return the digests of all bundles that running replicas have loaded."""
    running = (one for one in _replicas(connection, GONE_AFTER_S) if not one.gone)
    return {model.digest for one in running for model in one.models}


def _replicas(connection: Connection, silent_s: float) -> list[Replica]:
    now = now_of(connection)
    query = select(replicas.c.body, replicas.c.last_seen_at, (now - replicas.c.last_seen_at).label("silent"))
    query = query.where(replicas.c.last_seen_at >= now - silent_s).order_by(replicas.c.id)
    return [
        msgspec.structs.replace(
            msgspec.json.decode(row.body, type=Replica),
            last_seen_at=iso_time(row.last_seen_at),
            silent_s=max(0.0, row.silent),
        )
        for row in connection.execute(query)
    ]


def _prune(
    connection: Connection, table: Table, rules: tuple[ColumnElement[bool], ...], *, dry_run: bool
) -> int:
    if dry_run:
        return connection.execute(select(func.count()).select_from(table).where(*rules)).scalar_one()
    return connection.execute(delete(table).where(*rules)).rowcount


def _insert(connection: Connection, table: Table) -> Any:
    # Both have the same ON CONFLICT, but SQLAlchemy has it apart for each, and each takes long to load.
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def now_of(connection: Connection) -> ColumnElement[float]:
    """Return the Unix time of the database as an expression."""
    if connection.dialect.name == "postgresql":
        return func.date_part("epoch", func.clock_timestamp())
    return (func.julianday("now") - 2440587.5) * 86400.0
