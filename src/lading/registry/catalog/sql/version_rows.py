"""Rows of models, versions and tags, read and written within a transaction that the caller runs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select, update

from lading.ref import Ref
from lading.registry.catalog.sql.statements import json_text
from lading.registry.catalog.sql.tables import models, tags, versions
from lading.registry.records import ModelVersion, NewVersion


def lock_model(connection: Connection, name: str) -> int | None:
    """Lock the model's row until the transaction ends; return the number of its last release.

    Whatever moves tags, removes versions or changes releases does so first. None if there is no such model.
    """
    # SQLite has no FOR UPDATE, and SQLAlchemy leaves it out there: one transaction writes at a time anyway.
    query = select(models.c.last_release).where(models.c.name == name).with_for_update()
    number = connection.execute(query).scalar()
    return None if number is None else int(number)


def number_of(connection: Connection, new: NewVersion) -> int:
    """Return the number of the version that has the digest already, or add one."""
    known = find(connection, Ref(new.name, digest=new.digest))
    if known is not None:
        return known.version
    number = _next_version(connection, new.name)
    fields = {**msgspec.structs.asdict(new), "metrics": json_text(new.metrics)}
    connection.execute(insert(versions).values(version=number, **fields))
    return number


def find(connection: Connection, ref: Ref) -> ModelVersion | None:
    """Return the version that a reference names, or None; a bare name means the highest."""
    query = select(versions).where(versions.c.name == ref.name, *_rules(ref))
    query = query.order_by(versions.c.version.desc()).limit(1)
    named = with_tags(connection, ref.name, connection.execute(query).mappings().all())
    return named[0] if named else None


def with_tags(connection: Connection, name: str, rows: Sequence[RowMapping]) -> list[ModelVersion]:
    """Return the versions in a model's rows, each with its tags."""
    if not rows:
        return []
    # One query for all rows: a model may have thousands of versions.
    query = select(tags.c.version, tags.c.tag).where(tags.c.name == name).order_by(tags.c.tag)
    tagged = connection.execute(query).all()
    return [
        msgspec.structs.replace(
            untagged(row), tags=tuple(tag for version, tag in tagged if version == row["version"])
        )
        for row in rows
    ]


def untagged(row: RowMapping) -> ModelVersion:
    """Return the version in a row, without its tags."""
    return ModelVersion(**{**row, "metrics": msgspec.json.decode(row["metrics"], type=dict[str, float])})


def move_tag(connection: Connection, name: str, tag: str, version: int | None) -> bool:
    """Move a tag to a version, or with None remove it; return whether it existed before."""
    query = delete(tags).where(tags.c.name == name, tags.c.tag == tag)
    existed = connection.execute(query).rowcount > 0
    if version is not None:
        connection.execute(insert(tags).values(name=name, tag=tag, version=version))
    return existed


def _rules(ref: Ref) -> list[ColumnElement[bool]]:
    if ref.version is not None:
        return [versions.c.version == ref.version]
    if ref.digest is not None:
        return [versions.c.digest == ref.digest]
    if ref.tag is not None:
        tagged = select(tags.c.version).where(tags.c.name == ref.name, tags.c.tag == ref.tag)
        return [versions.c.version == tagged.scalar_subquery()]
    return []


def _next_version(connection: Connection, name: str) -> int:
    # Counted in the model's row, which outlives its versions: a number is never used for another bundle.
    query = update(models).where(models.c.name == name).values(last_version=models.c.last_version + 1)
    number = connection.execute(query.returning(models.c.last_version)).scalar()
    if number is None:
        connection.execute(insert(models).values(name=name, last_version=1))
        return 1
    return int(number)
