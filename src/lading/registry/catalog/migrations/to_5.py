"""Schema 5: runs over data sets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    """Lead from schema 4 to 5."""
    op.create_table(
        "runs",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("began_at", sa.Float(53), nullable=False),
        sa.Column("heard_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_name_began_at", "runs", ["name", "began_at"])
    op.create_index("ix_runs_began_at_id", "runs", ["began_at", "id"])
    op.create_index("ix_runs_state_began_at", "runs", ["state", "began_at", "id"])
