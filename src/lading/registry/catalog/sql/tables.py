"""The catalog's tables, for every database. Constraint names are fixed, so that migrations can name them."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

# The schema that this lading writes; a catalog of a higher number is refused.
SCHEMA = 6

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

schema = Table("lading_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

# Outlives the versions of its model: a removed number is never given again.
models = Table(
    "models",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("last_version", Integer, nullable=False),
    # The current release; 0 before the first. That there is exactly one is thereby not to be broken.
    Column("last_release", Integer, nullable=False, default=0, server_default="0"),
)

versions = Table(
    "versions",
    metadata,
    Column("name", String(63), ForeignKey("models.name"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(71), nullable=False),
    Column("blob", String(71), nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("pushed_at", String(32), nullable=False),
    Column("metrics", Text, nullable=False),  # JSON
    UniqueConstraint("name", "digest"),
)

tags = Table(
    "tags",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("tag", String(63), primary_key=True),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(["name", "version"], ["versions.name", "versions.version"]),
)

# No foreign key: a bundle can be verified before it is pushed, and what was measured outlives it.
evidence = Table(
    "evidence",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(71), nullable=False),
    Column("fingerprint", String(12), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Index("ix_evidence_digest_fingerprint", "digest", "fingerprint"),
    sqlite_autoincrement=True,
)

# No foreign key to versions: history outlives them. The tags, which move along, have one.
releases = Table(
    "releases",
    metadata,
    Column("name", String(63), ForeignKey("models.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("live", Integer),
    Column("candidate", Integer),
    Column("plan", Text, nullable=False),  # JSON
    Column("step", Integer, nullable=False),
    Column("weight_percent", Float(53), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("runtime", String(12)),
    Column("replaces", Integer),
    Column("created_at", String(32), nullable=False),
    Column("changed_at", String(32), nullable=False),
    Column("step_started_at", String(32), nullable=False),
    Column("epoch", Integer, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(63), nullable=False),
    Column("number", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", String(32), nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("from_", Text, nullable=False),
    Column("to", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON
    Column("digest", String(71), nullable=False),
    Column("fingerprint", String(12), nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("name", "seq"),
    sqlite_autoincrement=True,
)

# Events are only ever added. The owner of the database can remove a trigger; then the chain of hashes shows
# that something was changed.
APPEND_ONLY = {
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
for _dialect, _statements in APPEND_ONLY.items():
    for _statement in _statements:
        _ddl = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(events, "after_create", _ddl.execute_if(dialect=_dialect))

windows = Table(
    "windows",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("release", Integer, nullable=False),
    Column("at", Float(53), nullable=False),  # Unix time
    Column("body", Text, nullable=False),  # JSON
    Index("ix_windows_name_release_at", "name", "release", "at"),
)

leases = Table(
    "leases",
    metadata,
    Column("what", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False),  # Unix time of the database
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", Text, primary_key=True),
    Column("last_seen_at", Float(53), nullable=False),  # Unix time of the database
    Column("body", Text, nullable=False),  # JSON
)

# The truth about answers, on its way to the process that gave them; what nobody took is pruned.
feedback = Table(
    "feedback",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float(53), nullable=False),  # Unix time of the database
    Column("body", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

# Counts of live rows in the cells of a reference. ``number`` rises in the order in which windows came.
column_windows = Table(
    "column_windows",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("at", Float(53), nullable=False),  # Unix time
    Column("body", Text, nullable=False),  # JSON
    UniqueConstraint("id"),
    Index("ix_column_windows_name_at", "name", "at"),
    sqlite_autoincrement=True,
)

# By the digest that windows name: what their counts are counts of.
profiles = Table(
    "profiles",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("body", Text, nullable=False),  # JSON
)

baselines = Table(
    "baselines",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("body", Text, nullable=False),  # JSON
)

# What the monitor's tests and the alerts have come to so far.
monitor_states = Table(
    "monitor_states",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body", Text, nullable=False),  # JSON
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("raised_at", Float(53), nullable=False),  # Unix time
    Column("ended_at", Float(53), nullable=False),  # Unix time; 0 while it lasts
    Column("body", Text, nullable=False),  # JSON
    Index("ix_alarms_name_raised_at", "name", "raised_at"),
    Index("ix_alarms_raised_at_id", "raised_at", "id"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("began_at", Float(53), nullable=False),  # Unix time
    Column("heard_at", Float(53), nullable=False),  # Unix time
    Column("ended_at", Float(53), nullable=False),  # Unix time; 0 while it lasts
    Column("body", Text, nullable=False),  # JSON
    Index("ix_runs_name_began_at", "name", "began_at"),
    Index("ix_runs_began_at_id", "began_at", "id"),
    Index("ix_runs_state_began_at", "state", "began_at", "id"),
)

# The queue of jobs, in the order of ``rank``, the negative priority, and then of ``number``. A claim is a
# lease by the clock of the database. Times are Unix times of the database, 0 for never.
jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("target", String(160), nullable=False),
    Column("key", String(255)),  # NULL without one: no two jobs without a key are the same
    Column("fingerprint", String(64), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("path", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON
    Column("body", LargeBinary, nullable=False),  # empty once the job has ended
    Column("created_at", Float(53), nullable=False),
    Column("due_at", Float(53), nullable=False),
    Column("started_at", Float(53), nullable=False),
    Column("ended_at", Float(53), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("replica", Text, nullable=False),
    Column("claim", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("served", Text, nullable=False),  # JSON, or empty
    Column("answer_type", Text, nullable=False),
    Column("answer_headers", Text, nullable=False),  # JSON
    Column("answer", LargeBinary),
    Column("webhook", Text, nullable=False),
    Column("hook", String(16), nullable=False),
    Column("hook_due_at", Float(53), nullable=False),
    Column("hook_attempts", Integer, nullable=False),
    Column("hook_text", Text, nullable=False),
    UniqueConstraint("id"),
    UniqueConstraint("name", "key"),
    Index("ix_jobs_state_rank_number", "state", "rank", "number"),
    Index("ix_jobs_name_state", "name", "state"),
    Index("ix_jobs_hook_hook_due_at", "hook", "hook_due_at"),
    sqlite_autoincrement=True,
)

# Texts about bundles and images, by the digest that they are about. No foreign key: a bundle can be signed
# before it is pushed, an image has no row, and what was stated outlives the version.
attachments = Table(
    "attachments",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("id", String(64), primary_key=True),  # the sha256 of the body
    Column("added_at", Float(53), nullable=False),  # Unix time
    Column("actor", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("body", Text, nullable=False),
)
