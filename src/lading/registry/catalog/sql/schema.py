"""The schema of a catalog: created where there is none, migrated where it is old, refused where it is newer.

Several processes may do so at the same time: it happens in one exclusive transaction. Alembic is loaded only
to migrate; the steps are in ``migrations``.
"""

from __future__ import annotations

import importlib

from sqlalchemy import Connection, insert, select, update

from lading.errors import CatalogTooNew
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.tables import SCHEMA, metadata, schema


def bring_up_to_date(database: Database) -> None:
    """Create or migrate the tables if need be. Raises `CatalogTooNew` if they are newer."""
    # Without a lock: nearly always there is nothing to do.
    if schema_version(database) == SCHEMA:
        return
    with database.transaction("exclusive") as connection:
        # Read again: another process may have done it since.
        version = _version(connection)
        if version is None:
            metadata.create_all(connection)
            connection.execute(insert(schema).values(version=SCHEMA))
        elif version < SCHEMA:
            _migrate(connection, version)


def schema_version(database: Database) -> int | None:
    """Return the schema of the tables, or None if there are none. Raises `CatalogTooNew`."""
    with database.transaction("read") as connection:
        version = _version(connection)
    if version is not None and version > SCHEMA:
        raise CatalogTooNew(
            f"registry `{database.where}`",
            expected=f"catalog schema {SCHEMA}",
            found=f"{version}, written by a newer lading",
            hint="upgrade lading here: `pip install --upgrade lading-ml`",
        )
    return version


def _version(connection: Connection) -> int | None:
    if not connection.dialect.has_table(connection, schema.name):
        return None
    return int(connection.execute(select(schema.c.version)).scalar_one())


def _migrate(connection: Connection, version: int) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    # Alembic's operations alone: the version is in our own table, and all steps run in this transaction.
    operations = Operations(MigrationContext.configure(connection))
    for step in range(version + 1, SCHEMA + 1):
        importlib.import_module(f"lading.registry.catalog.migrations.to_{step}").upgrade(operations)
    connection.execute(update(schema).values(version=SCHEMA))
