"""The catalog's tables, for every database. Constraint names are fixed, so that migrations can name them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = 1
"""The schema that this lading writes; a catalog of a higher number is refused."""

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
