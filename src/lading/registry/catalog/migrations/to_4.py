"""Schema 4: alarms of all models by when they were raised, for pages of them."""

from __future__ import annotations

from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    """Lead from schema 3 to 4."""
    op.create_index("ix_alarms_raised_at_id", "alarms", ["raised_at", "id"])
