"""The schema of a catalog: made where there is none, brought up to date where it is old, refused if newer.

Several processes may do so at once: it happens in one transaction that runs alone. Alembic is loaded only
where there is something to migrate, and the steps are in ``migrations``.
"""

from __future__ import annotations

import importlib

from sqlalchemy import Connection, insert, select, update

from lading.errors import CatalogTooNew
from lading.registry.catalog.tables import SCHEMA, metadata, schema
from lading.registry.catalog.transactions import Transactions


def bring_up_to_date(catalog: Transactions) -> None:
    """Make or migrate the tables if there is need. Raises `CatalogTooNew` if they are newer."""
    if schema_version(catalog) == SCHEMA:
        return
    with catalog.transaction("alone") as connection:
        # Another process may have been here since.
        found = _version(connection)
        if found is None:
            metadata.create_all(connection)
            connection.execute(insert(schema).values(version=SCHEMA))
        elif found < SCHEMA:
            _migrate(connection, found)


def schema_version(catalog: Transactions) -> int | None:
    """Return the schema that is there, None if there is none. Raises `CatalogTooNew`."""
    with catalog.transaction("read") as connection:
        found = _version(connection)
    if found is not None and found > SCHEMA:
        raise CatalogTooNew(
            f"registry `{catalog.where}`",
            expected=f"catalog schema {SCHEMA}",
            found=f"{found}, written by a newer lading",
            hint="upgrade lading here: `pip install --upgrade lading`",
        )
    return found


def _version(connection: Connection) -> int | None:
    if not connection.dialect.has_table(connection, schema.name):
        return None
    return int(connection.execute(select(schema.c.version)).scalar_one())


def _migrate(connection: Connection, found: int) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(connection))
    for version in range(found + 1, SCHEMA + 1):
        importlib.import_module(f"lading.registry.catalog.migrations.to_{version}").upgrade(operations)
    connection.execute(update(schema).values(version=SCHEMA))
