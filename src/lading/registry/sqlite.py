"""The catalog of a folder: SQLite in WAL mode, so that readers and one writer never wait for each other.

For one machine: SQLite's locks and its shared memory do not work over network file systems.
"""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Connection as SqliteConnection

from sqlalchemy import URL, Connection, Engine, create_engine, event

from lading.registry.catalog import ALONE, SqlCatalog
from lading.registry.claim import claim
from lading.registry.faults import registry_faults

_BUSY_TIMEOUT_S = 30.0


def open_sqlite(root: Path) -> SqlCatalog:
    """Open ``catalog.db`` in the folder `root`; make both if they are not there."""
    engine = sqlite_engine(root / "catalog.db")
    catalog = SqlCatalog(engine, str(root))
    with registry_faults(str(root)):
        root.mkdir(parents=True, exist_ok=True)
    if catalog.schema_version() is None:
        _create(catalog, engine, root)
    return catalog


def sqlite_engine(path: Path) -> Engine:
    """Make an engine that begins writing transactions at once and alone, and waits its turn."""
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _create(catalog: SqlCatalog, engine: Engine, root: Path) -> None:
    # Two processes that switch one new file to WAL at a time refuse each other without waiting.
    with registry_faults(str(root)), claim(root / "catalog.lock"):
        if catalog.schema_version() is None:
            connection = engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            catalog.create()


def _prepare(connection: SqliteConnection, _: object) -> None:
    # The driver begins transactions too late (https://docs.sqlalchemy.org/en/21/dialects/sqlite.html).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    # Begun deferred, a transaction that reads and then writes fails without waiting if another wrote since.
    alone = connection.get_execution_options().get(ALONE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if alone else "BEGIN")
