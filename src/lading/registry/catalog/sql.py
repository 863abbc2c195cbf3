"""The catalog in SQL, for any database of SQLAlchemy: versions, tags and evidence; the rest is in its bases.

Stores no bytes of bundles and has no words for what is missing: `Registry` has. How transactions keep out
of each other's way is the part of ``transactions`` and of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import delete, func, insert, or_, select

from lading.evidence import Evidence
from lading.ref import Ref
from lading.registry.catalog.feedback_rows import SqlFeedback
from lading.registry.catalog.fleet_rows import SqlFleet, replicas_with, running_digests
from lading.registry.catalog.release_rows import SqlReleases
from lading.registry.catalog.tables import evidence, releases, versions
from lading.registry.catalog.version_rows import find, lock_model, move_tag, number_of, text, with_tags
from lading.registry.records import ModelVersion, NewVersion


class SqlCatalog(SqlReleases, SqlFleet, SqlFeedback):
    """A `Catalog` over an engine; `where` is its name in messages."""

    def add(self, new: NewVersion, tags: Sequence[str], ensure_stored: Callable[[], object]) -> ModelVersion:
        """Give a version the next number and tag it, or find the one of this digest and tag that."""
        with self.transaction("alone") as connection:
            ensure_stored()
            # Only now: it may take long, and releases of the model need not wait for it.
            lock_model(connection, new.name)
            number = number_of(connection, new)
            for tag in tags:
                move_tag(connection, new.name, tag, number)
            added = find(connection, Ref(new.name, version=number))
            assert added is not None
            return added

    def find(self, ref: Ref) -> ModelVersion | None:
        """Find the version that a reference names; a bare name means the highest."""
        with self.transaction("read") as connection:
            return find(connection, ref)

    def models(self) -> list[str]:
        """List the names that have a version, sorted."""
        with self.transaction("read") as connection:
            query = select(versions.c.name).distinct().order_by(versions.c.name)
            return list(connection.execute(query).scalars())

    def versions(self, name: str) -> list[ModelVersion]:
        """List the versions of a model, lowest first."""
        with self.transaction("read") as connection:
            query = select(versions).where(versions.c.name == name).order_by(versions.c.version)
            return with_tags(connection, name, connection.execute(query).mappings().all())

    def tag(self, name: str, version: int, tag: str) -> ModelVersion | None:
        """Move a tag to a version; None if the version is not there."""
        ref = Ref(name, version=version)
        with self.transaction("write") as connection:
            lock_model(connection, name)
            if find(connection, ref) is None:
                return None
            move_tag(connection, name, tag, version)
            return find(connection, ref)

    def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; return whether there was one."""
        with self.transaction("write") as connection:
            lock_model(connection, name)
            return move_tag(connection, name, tag, None)

    def remove(self, name: str, version: int, *, keep_releases: int) -> tuple[str, ...] | None:
        """Forget a version unless something names it; return what does, or None if it is not there."""
        with self.transaction("write") as connection:
            last_release = lock_model(connection, name)
            found = find(connection, Ref(name, version=version))
            if found is None or last_release is None:
                return None
            query = select(releases.c.number).order_by(releases.c.number)
            query = query.where(releases.c.name == name, releases.c.number > last_release - keep_releases)
            query = query.where(
                or_(*(one == version for one in (releases.c.live, releases.c.candidate, releases.c.replaces)))
            )
            uses = (
                *(f"tag `{tag}`" for tag in found.tags),
                *(f"release {number}" for number in connection.execute(query).scalars()),
                *(f"replica `{replica}`" for replica in replicas_with(connection, found.digest)),
            )
            if not uses:
                rule = (versions.c.name == name, versions.c.version == version)
                connection.execute(delete(versions).where(*rule))
            return uses

    def record(self, one: Evidence) -> None:
        """Add one piece of evidence."""
        with self.transaction("write") as connection:
            fields = {"digest": one.bundle, "fingerprint": one.fingerprint.id, "body": text(one)}
            connection.execute(insert(evidence).values(**fields))

    def evidence(self, digest: str | None, *, history: bool) -> list[Evidence]:
        """List evidence in the order of recording."""
        query = select(evidence.c.body).order_by(evidence.c.id)
        if digest is not None:
            query = query.where(evidence.c.digest == digest)
        if not history:
            last = select(func.max(evidence.c.id)).group_by(evidence.c.digest, evidence.c.fingerprint)
            query = query.where(evidence.c.id.in_(last))
        with self.transaction("read") as connection:
            return [msgspec.json.decode(body, type=Evidence) for body in connection.execute(query).scalars()]

    def kept(self) -> tuple[set[str], set[str]]:
        """Return the digests of all blobs and of all bundles that versions or running replicas name."""
        with self.transaction("read") as connection:
            rows = connection.execute(select(versions.c.blob, versions.c.digest)).all()
            running = running_digests(connection)
        return {row.blob for row in rows}, {row.digest for row in rows} | running

    def discard(self, blob: str, delete: Callable[[str], bool]) -> bool:
        """Call `delete` on a blob while no version names it and none can come to."""
        with self.transaction("alone") as connection:
            query = select(versions.c.version).where(versions.c.blob == blob).limit(1)
            return connection.execute(query).first() is None and delete(blob)
