"""Versions, tags and evidence in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import and_, delete, func, insert, or_, select

from lading.evidence import Evidence
from lading.ref import Ref
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.fleet import replicas_with, running_digests
from lading.registry.catalog.sql.statements import json_text
from lading.registry.catalog.sql.tables import evidence as evidence_table
from lading.registry.catalog.sql.tables import models, releases, versions
from lading.registry.catalog.sql.version_rows import (
    find,
    lock_model,
    move_tag,
    number_of,
    untagged,
    with_tags,
)
from lading.registry.records import ModelVersion, NewVersion


class SqlVersions:
    """A `VersionCatalog` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: NewVersion, tags: Sequence[str], ensure_stored: Callable[[], object]) -> ModelVersion:
        """Add a version under the next number and tag it; a digest that exists keeps its version."""
        # Exclusive, so that no `discard` removes the blob between being stored and being named.
        with self._database.transaction("exclusive") as connection:
            ensure_stored()
            # Locked only now: storing may take long, and releases of the model need not wait for it.
            lock_model(connection, new.name)
            number = number_of(connection, new)
            for tag in tags:
                move_tag(connection, new.name, tag, number)
            added = find(connection, Ref(new.name, version=number))
            assert added is not None
            return added

    def find(self, ref: Ref) -> ModelVersion | None:
        """Return the version that a reference names, or None; a bare name means the highest."""
        with self._database.transaction("read") as connection:
            return find(connection, ref)

    def models(self) -> list[str]:
        """Return the names that have a version, sorted."""
        # Not from the table of models, which keeps the name of a model without versions.
        with self._database.transaction("read") as connection:
            query = select(versions.c.name).distinct().order_by(versions.c.name)
            return list(connection.execute(query).scalars())

    def of(self, name: str) -> list[ModelVersion]:
        """Return the versions of a model, lowest first."""
        with self._database.transaction("read") as connection:
            query = select(versions).where(versions.c.name == name).order_by(versions.c.version)
            return with_tags(connection, name, connection.execute(query).mappings().all())

    def newest(self) -> list[ModelVersion]:
        """Return the highest version of every model, by name, without its tags."""
        # From the table of models: the highest number of each is one step in the index of versions.
        others = versions.alias()
        highest = select(func.max(others.c.version)).where(others.c.name == models.c.name)
        rule = (versions.c.name == models.c.name, versions.c.version == highest.scalar_subquery())
        query = select(versions).join(models, and_(*rule)).order_by(models.c.name)
        with self._database.transaction("read") as connection:
            return [untagged(row) for row in connection.execute(query).mappings()]

    def page(self, name: str, below: int | None, limit: int) -> list[ModelVersion]:
        """Return at most `limit` versions of a model, highest first, of those with a number below `below`."""
        query = select(versions).where(versions.c.name == name)
        if below is not None:
            query = query.where(versions.c.version < below)
        query = query.order_by(versions.c.version.desc()).limit(limit)
        with self._database.transaction("read") as connection:
            return with_tags(connection, name, connection.execute(query).mappings().all())

    def tag(self, name: str, version: int, tag: str) -> ModelVersion | None:
        """Move a tag to a version and return it, or None if the version does not exist."""
        ref = Ref(name, version=version)
        with self._database.transaction("write") as connection:
            lock_model(connection, name)
            if find(connection, ref) is None:
                return None
            move_tag(connection, name, tag, version)
            return find(connection, ref)

    def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; return whether it existed."""
        with self._database.transaction("write") as connection:
            lock_model(connection, name)
            return move_tag(connection, name, tag, None)

    def remove(self, name: str, version: int, *, keep_releases: int) -> tuple[str, ...] | None:
        """Remove a version unless something names it; return what does, or None if it does not exist."""
        with self._database.transaction("write") as connection:
            last_release = lock_model(connection, name)
            removed = find(connection, Ref(name, version=version))
            if removed is None or last_release is None:
                return None
            query = select(releases.c.number).order_by(releases.c.number)
            query = query.where(releases.c.name == name, releases.c.number > last_release - keep_releases)
            columns = (releases.c.live, releases.c.candidate, releases.c.replaces)
            query = query.where(or_(*(column == version for column in columns)))
            uses = (
                *(f"tag `{tag}`" for tag in removed.tags),
                *(f"release {number}" for number in connection.execute(query).scalars()),
                *(f"replica `{replica}`" for replica in replicas_with(connection, removed.digest)),
            )
            if not uses:
                rule = (versions.c.name == name, versions.c.version == version)
                connection.execute(delete(versions).where(*rule))
            return uses

    def record(self, evidence: Evidence) -> None:
        """Add evidence about a bundle."""
        with self._database.transaction("write") as connection:
            fields = {"digest": evidence.bundle, "fingerprint": evidence.fingerprint.id}
            connection.execute(insert(evidence_table).values(**fields, body=json_text(evidence)))

    def evidence(self, digest: str | None, *, history: bool) -> list[Evidence]:
        """Return evidence in the order of recording: the last per bundle and fingerprint, or all of it."""
        columns = evidence_table.c
        query = select(columns.body).order_by(columns.id)
        if digest is not None:
            query = query.where(columns.digest == digest)
        if not history:
            last = select(func.max(columns.id)).group_by(columns.digest, columns.fingerprint)
            if digest is not None:  # In both, or the last of every bundle would be looked for.
                last = last.where(columns.digest == digest)
            query = query.where(columns.id.in_(last))
        with self._database.transaction("read") as connection:
            return [msgspec.json.decode(body, type=Evidence) for body in connection.execute(query).scalars()]

    def kept(self) -> tuple[set[str], set[str]]:
        """Return the digests of all blobs and of all bundles that versions or running replicas name."""
        with self._database.transaction("read") as connection:
            rows = connection.execute(select(versions.c.blob, versions.c.digest)).all()
            running = running_digests(connection)
        return {row.blob for row in rows}, {row.digest for row in rows} | running

    def discard(self, blob: str, delete: Callable[[str], bool]) -> bool:
        """Call `delete` on a blob while no version names it and none can come to; return whether it was."""
        with self._database.transaction("exclusive") as connection:
            query = select(versions.c.version).where(versions.c.blob == blob).limit(1)
            return connection.execute(query).first() is None and delete(blob)
