"""Schema 2: releases with their events, windows of live traffic, leases, replicas, feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

_APPEND_ONLY = {
    "sqlite": (
        """
        CREATE TRIGGER events_no_update BEFORE UPDATE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END
        """,
        """
        CREATE TRIGGER events_no_delete BEFORE DELETE ON events
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END
        """,
    ),
    "postgresql": (
        """
        CREATE FUNCTION events_are_never_changed() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'events are never changed'; END $$
        """,
        """
        CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION events_are_never_changed()
        """,
    ),
}


def upgrade(op: Operations) -> None:
    """Lead from schema 1 to 2."""
    op.add_column("models", sa.Column("last_release", sa.Integer, nullable=False, server_default="0"))
    _releases(op)
    _events(op)
    _fleet(op)


def _releases(op: Operations) -> None:
    op.create_table(
        "releases",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("live", sa.Integer),
        sa.Column("candidate", sa.Integer),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("weight_percent", sa.Float(53), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("runtime", sa.String(12)),
        sa.Column("replaces", sa.Integer),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
        sa.Column("step_started_at", sa.String(32), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", "number", name="pk_releases"),
        sa.ForeignKeyConstraint(["name"], ["models.name"], name="fk_releases_name"),
    )


def _events(op: Operations) -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("from_", sa.Text, nullable=False),
        sa.Column("to", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("fingerprint", sa.String(12), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("name", "seq", name="uq_events_name"),
        sqlite_autoincrement=True,
    )
    for statement in _APPEND_ONLY[op.get_context().dialect.name]:
        op.execute(statement)


def _fleet(op: Operations) -> None:
    op.create_table(
        "windows",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("release", sa.Integer, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_windows"),
    )
    op.create_index("ix_windows_name_release_at", "windows", ["name", "release", "at"])
    op.create_table(
        "leases",
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("what", name="pk_leases"),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("last_seen_at", sa.Float(53), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sqlite_autoincrement=True,
    )
