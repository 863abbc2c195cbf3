"""Feedback on its way, in SQL: from the process that was told to the one that gave the answer.

Readers go by rising ids, so that rows must appear in the order of their ids: one transaction adds at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from lading.registry.catalog.fleet_rows import now_of
from lading.registry.catalog.tables import feedback
from lading.registry.catalog.transactions import Transactions
from lading.registry.catalog.version_rows import text
from lading.traffic import Feedback

_KEPT_S = 3600.0
_LOCK = 0x666565646261636B
"""The advisory lock of whoever adds: ``feedback`` as a number."""


class SqlFeedback(Transactions):
    """The part of a catalog that passes feedback on."""

    def add_feedback(self, some: Sequence[Feedback]) -> None:
        """Pass feedback on, and drop what nobody took for an hour."""
        if not some:
            return
        with self.transaction("write") as connection:
            _take_turn(connection)
            now = connection.execute(select(now_of(connection))).scalar_one()
            connection.execute(insert(feedback), [{"at": now, "body": text(one)} for one in some])
            connection.execute(delete(feedback).where(feedback.c.at < now - _KEPT_S))

    def feedback(self, after: int | None) -> tuple[int, list[Feedback]]:
        """Return what came after a mark, and the next mark; without a mark only that."""
        with self.transaction("read") as connection:
            last = connection.execute(select(func.max(feedback.c.id))).scalar() or 0
            if after is None:
                return last, []
            query = select(feedback.c.body).where(feedback.c.id > after, feedback.c.id <= last)
            bodies = connection.execute(query.order_by(feedback.c.id)).scalars()
            return max(last, after), [msgspec.json.decode(body, type=Feedback) for body in bodies]


def _take_turn(connection: Connection) -> None:
    # In SQLite one transaction writes at a time anyway. PostgreSQL gives out ids before the commit: of two at
    # once the later id may be read first, and the earlier one is behind the reader's mark then.
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
