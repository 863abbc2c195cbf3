"""Schema 3: windows of columns, profiles, baselines, the states of tests and alerts, and alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    """Lead from schema 2 to 3."""
    op.create_table(
        "column_windows",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_column_windows"),
        sa.UniqueConstraint("id", name="uq_column_windows_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_column_windows_name_at", "column_windows", ["name", "at"])
    op.create_table(
        "profiles",
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_profiles"),
    )
    op.create_table(
        "baselines",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_baselines"),
    )
    op.create_table(
        "monitor_states",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_monitor_states"),
    )
    op.create_table(
        "alarms",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("raised_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alarms"),
    )
    op.create_index("ix_alarms_name_raised_at", "alarms", ["name", "raised_at"])
