"""What is attached to digests, in SQL. Knows nothing of what the texts say."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import delete, insert, select

from lading.registry.catalog.attachments import MOST_READ
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.statements import unix_now
from lading.registry.catalog.sql.tables import attachments as table
from lading.registry.records import Attachment, AttachmentKind

# SQLite's default limit of variables in one statement was 999 before 3.32.
_DIGESTS_AT_ONCE = 500
_HEAD = (table.c.digest, table.c.kind, table.c.id, table.c.added_at, table.c.actor, table.c.media_type)
_ORDER = (table.c.added_at, table.c.id)


class SqlAttachments:
    """An `AttachmentCatalog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, attachment: Attachment) -> bool:
        """Store an attachment, dated by the catalog's clock; return False if the digest has it already."""
        key = (attachment.digest, attachment.kind, attachment.id)
        with self._database.transaction("write") as connection:
            # Asked first: SQLAlchemy has no insert for both databases that leaves a known row as it is.
            known = select(table.c.id).where(_is(*key))
            if connection.execute(known).first() is not None:
                return False
            values = {
                "digest": attachment.digest,
                "kind": attachment.kind,
                "id": attachment.id,
                "added_at": unix_now(connection),
                "actor": attachment.actor,
                "media_type": attachment.media_type,
                "body": attachment.body,
            }
            connection.execute(insert(table).values(values))
        return True

    def of(self, digest: str, kind: AttachmentKind | None) -> list[Attachment]:
        """Return the attachments of a digest, of one kind or of all, in the order of adding."""
        query = select(*_HEAD, table.c.body).where(table.c.digest == digest)
        if kind is not None:
            query = query.where(table.c.kind == kind)
        with self._database.transaction("read") as connection:
            return [_attachment(row) for row in connection.execute(query.order_by(*_ORDER).limit(MOST_READ))]

    def listed(self, digests: Collection[str]) -> list[Attachment]:
        """Return the attachments of many digests without their bodies, in the order of adding."""
        wanted, rows = sorted(set(digests)), []
        with self._database.transaction("read") as connection:
            for begin in range(0, len(wanted), _DIGESTS_AT_ONCE):
                some = wanted[begin : begin + _DIGESTS_AT_ONCE]
                query = select(*_HEAD).where(table.c.digest.in_(some)).order_by(*_ORDER)
                rows += [_attachment(row) for row in connection.execute(query)]
        return sorted(rows, key=lambda row: (row.added_at, row.id))

    def remove(self, digest: str, kind: AttachmentKind, id: str) -> bool:
        """Remove an attachment; return whether it existed."""
        with self._database.transaction("write") as connection:
            return connection.execute(delete(table).where(_is(digest, kind, id))).rowcount > 0


def _is(digest: str, kind: str, id: str) -> Any:
    return (table.c.digest == digest) & (table.c.kind == kind) & (table.c.id == id)


def _attachment(row: Any) -> Attachment:
    return Attachment(
        digest=row.digest,
        kind=row.kind,
        id=row.id,
        added_at=row.added_at,
        actor=row.actor,
        media_type=row.media_type,
        body=getattr(row, "body", ""),
    )
