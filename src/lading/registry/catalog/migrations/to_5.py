"""Schema 5: runs over data sets, and the queue of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    """Lead from schema 4 to 5."""
    _runs(op)
    _jobs(op)


def _runs(op: Operations) -> None:
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


def _jobs(op: Operations) -> None:
    op.create_table(
        "jobs",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("target", sa.String(160), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("due_at", sa.Float(53), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("replica", sa.Text, nullable=False),
        sa.Column("claim", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("served", sa.Text, nullable=False),
        sa.Column("answer_type", sa.Text, nullable=False),
        sa.Column("answer_headers", sa.Text, nullable=False),
        sa.Column("answer", sa.LargeBinary),
        sa.Column("webhook", sa.Text, nullable=False),
        sa.Column("hook", sa.String(16), nullable=False),
        sa.Column("hook_due_at", sa.Float(53), nullable=False),
        sa.Column("hook_attempts", sa.Integer, nullable=False),
        sa.Column("hook_text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_jobs"),
        sa.UniqueConstraint("id", name="uq_jobs_id"),
        sa.UniqueConstraint("name", "key", name="uq_jobs_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_state_rank_number", "jobs", ["state", "rank", "number"])
    op.create_index("ix_jobs_name_state", "jobs", ["name", "state"])
    op.create_index("ix_jobs_hook_hook_due_at", "jobs", ["hook", "hook_due_at"])
