"""The catalog of a folder: SQLite in WAL mode, so that readers and one writer never wait for each other.

For one machine: SQLite's locks and its shared memory do not work over network file systems. A folder that
cannot be written to is read (`read_only`).
"""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from lading.blobs.locks import file_lock, remove_if_unlocked
from lading.blobs.os_errors import registry_errors
from lading.errors import RegistryUnavailable
from lading.registry.catalog.read_only import is_writable, open_read_only
from lading.registry.catalog.sql import SqlCatalog
from lading.registry.catalog.sql.database import KIND, Database
from lading.registry.catalog.sql.schema import bring_up_to_date, schema_version
from lading.registry.catalog.sql.tables import SCHEMA
from lading.release.seals import Keyring

# How long a transaction waits for its turn before the catalog counts as unavailable.
BUSY_TIMEOUT_S = 30.0


def open_sqlite(
    root: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S, keyring: Keyring | None = None
) -> SqlCatalog:
    """Open ``catalog.db`` in the folder `root`, and create both if they do not exist."""
    path = root / "catalog.db"
    with registry_errors(str(root)):
        if path.exists() and not is_writable(path):
            return SqlCatalog(open_read_only(path, busy_timeout_s), keyring)
    database = Database(sqlite_engine(path, busy_timeout_s), str(root))
    with registry_errors(str(root)):
        root.mkdir(parents=True, exist_ok=True)
        exists = path.exists()
        # What a process left that was killed while it created the catalog.
        if _lock(path).exists():
            remove_if_unlocked(_lock(path))
    try:
        if not exists:
            _create(path, busy_timeout_s)
        version = schema_version(database)
        if version is None:
            raise _no_catalog(root, path)
        if version < SCHEMA:
            bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return SqlCatalog(database, keyring)


def sqlite_engine(path: Path, busy_timeout_s: float) -> Engine:
    """Return an engine whose writing transactions run one at a time, each waiting for its turn.

    It never creates the file, and closes connections to a file that was removed or replaced since.
    """
    url = URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s})

    def connect(connection: SqliteConnection, record: ConnectionPoolEntry) -> None:
        _configure(connection)
        record.info["file"] = _identity(path)

    def checkout(_: SqliteConnection, record: ConnectionPoolEntry, __: object) -> None:
        # As after a restored backup: SQLAlchemy then opens the present file.
        if record.info["file"] != _identity(path):
            raise DisconnectionError("the file is another")

    event.listen(engine, "connect", connect)
    event.listen(engine, "checkout", checkout)
    event.listen(engine, "begin", _begin)
    return engine


def _create(path: Path, busy_timeout_s: float) -> None:
    """Create a catalog unless another process has, under another name: it is whole when it appears."""
    where = str(path.parent)
    with registry_errors(where), file_lock(_lock(path)):
        if path.exists():
            return
        unfinished = path.with_suffix(".new")
        for leftover in path.parent.glob(f"{unfinished.name}*"):  # of a process that was killed, with its log
            leftover.unlink()
        unfinished.touch()
        database = Database(sqlite_engine(unfinished, busy_timeout_s), where)
        try:
            connection = database.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            bring_up_to_date(database)
        finally:
            database.close()  # The last connection writes the log into the file and removes it.
        unfinished.rename(path)


def _no_catalog(root: Path, path: Path) -> RegistryUnavailable:
    size = path.stat().st_size
    return RegistryUnavailable(
        f"catalog of registry `{root}`",
        expected="the tables of a catalog",
        found=f"`{path.name}` of {size} bytes" + (" without them" if size else ""),
        hint="restore it from a backup; the blobs are not touched by this. If nothing was pushed, remove it",
    )


def _configure(connection: SqliteConnection) -> None:
    # The driver begins transactions too late (https://docs.sqlalchemy.org/en/21/dialects/sqlite.html).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # NORMAL would lose the last transactions with the power: a version that was pushed stays pushed.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _lock(path: Path) -> Path:
    return path.with_suffix(".lock")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        # Opening it again raises the error that says why.
        return None
    return status.st_dev, status.st_ino


def _begin(connection: Connection) -> None:
    # Begun deferred, a transaction that reads and then writes fails without waiting if another wrote since.
    reads = connection.get_execution_options().get(KIND, "read") == "read"
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
