"""The catalog of a folder: SQLite in WAL mode, so that readers and one writer never wait for each other.

For one machine: SQLite's locks and its shared memory do not work over network file systems.
"""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from lading.blobs.locks import claim, discard_if_abandoned
from lading.blobs.os_errors import registry_faults
from lading.registry.catalog.schema import bring_up_to_date, schema_version
from lading.registry.catalog.sql import SqlCatalog
from lading.registry.catalog.tables import SCHEMA
from lading.registry.catalog.transactions import KIND

BUSY_TIMEOUT_S = 30.0
"""How long a transaction waits for its turn before the catalog counts as unavailable."""


def open_sqlite(root: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> SqlCatalog:
    """Open ``catalog.db`` in the folder `root`; make both if they are not there."""
    path = root / "catalog.db"
    engine = sqlite_engine(path, busy_timeout_s)
    catalog = SqlCatalog(engine, str(root))
    with registry_faults(str(root)):
        root.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        if _lock(path).exists():
            discard_if_abandoned(_lock(path))
    try:
        found = schema_version(catalog) if there else None
        if found is None:
            _create(catalog, engine, path)
        elif found < SCHEMA:
            bring_up_to_date(catalog)
    except BaseException:
        catalog.close()
        raise
    return catalog


def sqlite_engine(path: Path, busy_timeout_s: float) -> Engine:
    """Make an engine that begins writing transactions at once and alone, and waits its turn.

    It never makes the file, and lets go of connections to a file that was removed or replaced since.
    """
    url = URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s})

    def connect(connection: SqliteConnection, record: ConnectionPoolEntry) -> None:
        _prepare(connection)
        record.info["file"] = _identity(path)

    def checkout(_: SqliteConnection, record: ConnectionPoolEntry, __: object) -> None:
        if record.info["file"] != _identity(path):
            raise DisconnectionError("the file is another")

    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)
    event.listen(engine, "begin", _begin)
    return engine


def _create(catalog: SqlCatalog, engine: Engine, path: Path) -> None:
    # Two processes that switch one new file to WAL at a time refuse each other without waiting.
    with registry_faults(str(path.parent)), claim(_lock(path)):
        path.touch()
        if schema_version(catalog) is None:
            connection = engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            bring_up_to_date(catalog)


def _prepare(connection: SqliteConnection) -> None:
    # The driver begins transactions too late (https://docs.sqlalchemy.org/en/21/dialects/sqlite.html).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _lock(path: Path) -> Path:
    return path.with_suffix(".lock")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        # Opening it again says what is the matter.
        return None
    return found.st_dev, found.st_ino


def _begin(connection: Connection) -> None:
    # Begun deferred, a transaction that reads and then writes fails without waiting if another wrote since.
    reads = connection.get_execution_options().get(KIND, "read") == "read"
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
