"""Replicas and leases in SQL, by the clock of the database.

Nothing here is history: replicas are pruned by age, and a lease is one row that changes hands.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, or_, select

from lading.clock import iso_time
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.statements import json_text, prune_rows, unix_now, upsert
from lading.registry.catalog.sql.tables import leases, replicas
from lading.registry.records import Removed
from lading.replica import GONE_AFTER_S, Replica


class SqlFleet:
    """A `FleetCatalog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> float:
        """Return the Unix time of the database's clock."""
        with self._database.transaction("read") as connection:
            return float(connection.execute(select(unix_now(connection))).scalar_one())

    def lease(self, resource: str, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease unless another holds one that has not expired; return whether it is held."""
        with self._database.transaction("write") as connection:
            now = unix_now(connection)
            query = upsert(connection, leases).values(what=resource, holder=holder, expires_at=now + ttl_s)
            # One statement decides: of two holders that ask at the same moment, one updates no row.
            # One that lasts longer than any holder asks for was taken before the clock was set back.
            free = or_(
                leases.c.holder == holder, leases.c.expires_at <= now, leases.c.expires_at > now + 2 * ttl_s
            )
            values = {"holder": holder, "expires_at": query.excluded.expires_at}
            query = query.on_conflict_do_update(index_elements=["what"], set_=values, where=free)
            return connection.execute(query.returning(leases.c.what)).first() is not None

    def release_lease(self, resource: str, holder: str) -> None:
        """End a lease if `holder` holds it."""
        with self._database.transaction("write") as connection:
            connection.execute(delete(leases).where(leases.c.what == resource, leases.c.holder == holder))

    def lease_holder(self, resource: str) -> str | None:
        """Return who holds a lease now, or None if nobody does."""
        with self._database.transaction("read") as connection:
            rule = (leases.c.what == resource, leases.c.expires_at > unix_now(connection))
            return connection.execute(select(leases.c.holder).where(*rule)).scalar()

    def beat(self, replica: Replica) -> None:
        """Store what a replica reports, and when."""
        with self._database.transaction("write") as connection:
            # The database's clock and not the host's: hosts whose clocks differ agree on who is gone.
            values = {"last_seen_at": unix_now(connection), "body": json_text(replica)}
            query = upsert(connection, replicas).values(id=replica.id, **values)
            connection.execute(query.on_conflict_do_update(index_elements=["id"], set_=values))

    def replicas(self, silent_s: float) -> list[Replica]:
        """Return the replicas whose last heartbeat is at most `silent_s` old, by id."""
        with self._database.transaction("read") as connection:
            return _replicas(connection, silent_s)

    def forget(self, replica_id: str) -> bool:
        """Remove a replica; return whether it existed."""
        with self._database.transaction("write") as connection:
            return connection.execute(delete(replicas).where(replicas.c.id == replica_id)).rowcount > 0

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove replicas whose last heartbeat is older than that."""
        with self._database.transaction("read" if dry_run else "write") as connection:
            rule = replicas.c.last_seen_at < unix_now(connection) - older_than_s
            count = prune_rows(connection, replicas, rule, dry_run=dry_run)
        return [Removed("old replicas", f"{count} replicas", 0)] if count else []


def replicas_with(connection: Connection, digest: str) -> list[str]:
    """Return the ids of the running replicas that have a bundle loaded."""
    return [
        replica.id
        for replica in _running(connection)
        if any(model.digest == digest for model in replica.models)
    ]


def running_digests(connection: Connection) -> set[str]:
    """Return the digests of all bundles that running replicas have loaded."""
    return {model.digest for replica in _running(connection) for model in replica.models}


def _running(connection: Connection) -> list[Replica]:
    return [replica for replica in _replicas(connection, GONE_AFTER_S) if not replica.gone]


def _replicas(connection: Connection, silent_s: float) -> list[Replica]:
    now = unix_now(connection)
    query = select(replicas.c.body, replicas.c.last_seen_at, (now - replicas.c.last_seen_at).label("silent"))
    query = query.where(replicas.c.last_seen_at >= now - silent_s).order_by(replicas.c.id)
    return [
        msgspec.structs.replace(
            msgspec.json.decode(row.body, type=Replica),
            last_seen_at=iso_time(row.last_seen_at),
            # Below 0 if the clock of the database was set back since.
            silent_s=max(0.0, row.silent),
        )
        for row in connection.execute(query)
    ]
