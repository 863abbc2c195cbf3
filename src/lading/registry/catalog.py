"""The catalog in SQL, for any database of SQLAlchemy whose engine runs writing transactions one at a time.

An engine says how it does so (``sqlite`` with BEGIN IMMEDIATE) when it sees the execution option `ALONE`.
Stores no bytes of bundles and has no words for what is missing: `Registry` has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lading.errors import RegistryUnavailable
from lading.evidence import Evidence
from lading.ref import Ref
from lading.registry import ModelVersion, NewVersion
from lading.registry.tables import SCHEMA, evidence, metadata, models, schema, tags, versions

ALONE = "lading_alone"
"""Execution option of transactions that write: the engine begins them so that no other runs meanwhile."""

_HINTS = {
    "locked": "another process holds it for long; try again",
    "readonly": "run as a user who may write there: a registry is written to even when serving",
    "unable to open": "run as a user who may read and write there, or name another with `LADING_REGISTRY`",
    "full": "free some space, for example with `lading gc`",
    "not a database": "it is no catalog of lading: name another folder with `LADING_REGISTRY`",
    "malformed": "the catalog is damaged: restore it from a backup; the blobs are not touched by this",
}


class SqlCatalog:
    """A `Catalog` over an engine; `where` is its name in messages."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._alone = engine.execution_options(**{ALONE: True})
        self._where = where

    @property
    def where(self) -> str:
        """Name the registry in messages."""
        return self._where

    def schema_version(self) -> int | None:
        """Give the schema that is there, None before `create`. Raises `RegistryUnavailable` if too new."""
        with self._read() as connection:
            if not connection.dialect.has_table(connection, schema.name):
                return None
            found = int(connection.execute(select(schema.c.version)).scalar_one())
        if found > SCHEMA:
            raise RegistryUnavailable(
                f"registry `{self._where}`",
                expected=f"catalog schema {SCHEMA}",
                found=f"{found}, written by a newer lading",
                hint="upgrade lading here: `pip install --upgrade lading`",
            )
        return found

    def create(self) -> None:
        """Make all tables in one transaction, unless another process just did."""
        with self._write() as connection:
            if not connection.dialect.has_table(connection, schema.name):
                metadata.create_all(connection)
                connection.execute(insert(schema).values(version=SCHEMA))

    def add(self, new: NewVersion, tags: Sequence[str], ensure_stored: Callable[[], object]) -> ModelVersion:
        """Give a version the next number and tag it, or find the one of this digest and tag that."""
        with self._write() as connection:
            ensure_stored()
            number = _number(connection, new)
            for tag in tags:
                _move_tag(connection, new.name, tag, number)
            (added,) = _select(connection, Ref(new.name, version=number))
            return added

    def find(self, ref: Ref) -> ModelVersion | None:
        """Find the version that a reference names; a bare name means the highest."""
        with self._read() as connection:
            return _find(connection, ref)

    def models(self) -> list[str]:
        """List the names that have a version, sorted."""
        with self._read() as connection:
            query = select(versions.c.name).distinct().order_by(versions.c.name)
            return list(connection.execute(query).scalars())

    def versions(self, name: str) -> list[ModelVersion]:
        """List the versions of a model, lowest first."""
        with self._read() as connection:
            query = select(versions).where(versions.c.name == name).order_by(versions.c.version)
            return _with_tags(connection, name, connection.execute(query).mappings().all())

    def tag(self, name: str, version: int, tag: str) -> ModelVersion | None:
        """Move a tag to a version; None if the version is not there."""
        ref = Ref(name, version=version)
        with self._write() as connection:
            if _find(connection, ref) is None:
                return None
            _move_tag(connection, name, tag, version)
            return _find(connection, ref)

    def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; tell whether there was one."""
        with self._write() as connection:
            query = delete(tags).where(tags.c.name == name, tags.c.tag == tag)
            return connection.execute(query).rowcount > 0

    def remove(self, name: str, version: int) -> tuple[str, ...] | None:
        """Forget a version unless it has tags; give these, or None if it is not there."""
        with self._write() as connection:
            found = _find(connection, Ref(name, version=version))
            if found is None:
                return None
            if not found.tags:
                query = delete(versions).where(versions.c.name == name, versions.c.version == version)
                connection.execute(query)
            return found.tags

    def record(self, evidence: Evidence) -> None:
        """Add one piece of evidence."""
        with self._write() as connection:
            _record(connection, evidence)

    def evidence(self, digest: str | None, *, history: bool) -> list[Evidence]:
        """List evidence in the order of recording."""
        query = select(evidence.c.body).order_by(evidence.c.id)
        if digest is not None:
            query = query.where(evidence.c.digest == digest)
        if not history:
            last = select(func.max(evidence.c.id)).group_by(evidence.c.digest, evidence.c.fingerprint)
            query = query.where(evidence.c.id.in_(last))
        with self._read() as connection:
            return [msgspec.json.decode(body, type=Evidence) for body in connection.execute(query).scalars()]

    def kept(self) -> tuple[set[str], set[str]]:
        """Give the digests of all blobs and of all bundles that versions name."""
        with self._read() as connection:
            rows = connection.execute(select(versions.c.blob, versions.c.digest)).all()
        return {row.blob for row in rows}, {row.digest for row in rows}

    def discard(self, blob: str, delete: Callable[[str], bool]) -> bool:
        """Call `delete` on a blob while no version names it and none can come to."""
        with self._write() as connection:
            query = select(versions.c.version).where(versions.c.blob == blob).limit(1)
            return connection.execute(query).first() is None and delete(blob)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._faults(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._faults(), self._alone.begin() as connection:
            yield connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            if not _is_outage(error):
                raise
            text = str(getattr(error, "orig", None) or error)
            hint = next((hint for word, hint in _HINTS.items() if word in text), None)
            where = f"catalog of registry `{self._where}`"
            raise RegistryUnavailable(where, expected="an answer", found=text, hint=hint) from error


def _is_outage(error: DBAPIError | PoolTimeout) -> bool:
    # The subclasses of DatabaseError but OperationalError are faults of a statement, which are ours.
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout) or type(error) is DatabaseError


def _number(connection: Connection, new: NewVersion) -> int:
    """Give the version that has the digest already, or add one."""
    known = _find(connection, Ref(new.name, digest=new.digest))
    if known is not None:
        return known.version
    number = _next_version(connection, new.name)
    fields = {**msgspec.structs.asdict(new), "metrics": _text(new.metrics)}
    connection.execute(insert(versions).values(version=number, **fields))
    return number


def _find(connection: Connection, ref: Ref) -> ModelVersion | None:
    found = _select(connection, ref)
    return found[0] if found else None


def _select(connection: Connection, ref: Ref) -> list[ModelVersion]:
    query = select(versions).where(versions.c.name == ref.name, *_pinned(ref))
    query = query.order_by(versions.c.version.desc()).limit(1)
    return _with_tags(connection, ref.name, connection.execute(query).mappings().all())


def _pinned(ref: Ref) -> list[ColumnElement[bool]]:
    if ref.version is not None:
        return [versions.c.version == ref.version]
    if ref.digest is not None:
        return [versions.c.digest == ref.digest]
    if ref.tag is not None:
        tagged = select(tags.c.version).where(tags.c.name == ref.name, tags.c.tag == ref.tag)
        return [versions.c.version == tagged.scalar_subquery()]
    return []


def _with_tags(connection: Connection, name: str, rows: Sequence[RowMapping]) -> list[ModelVersion]:
    if not rows:
        return []
    query = select(tags.c.version, tags.c.tag).where(tags.c.name == name).order_by(tags.c.tag)
    tagged = connection.execute(query).all()
    return [
        ModelVersion(
            **{
                **row,
                "metrics": msgspec.json.decode(row["metrics"], type=dict[str, float]),
                "tags": tuple(tag for version, tag in tagged if version == row["version"]),
            }
        )
        for row in rows
    ]


def _next_version(connection: Connection, name: str) -> int:
    query = update(models).where(models.c.name == name).values(last_version=models.c.last_version + 1)
    number = connection.execute(query.returning(models.c.last_version)).scalar()
    if number is None:
        connection.execute(insert(models).values(name=name, last_version=1))
        return 1
    return int(number)


def _move_tag(connection: Connection, name: str, tag: str, version: int) -> None:
    connection.execute(delete(tags).where(tags.c.name == name, tags.c.tag == tag))
    connection.execute(insert(tags).values(name=name, tag=tag, version=version))


def _record(connection: Connection, one: Evidence) -> None:
    fields = {"digest": one.bundle, "fingerprint": one.fingerprint.id, "body": _text(one)}
    connection.execute(insert(evidence).values(**fields))


def _text(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
