"""The catalog of a folder that cannot be written to, such as a volume that is mounted read-only.

SQLite needs to write even to read a file in WAL mode, unless it can rely on nobody changing it. So every
transaction opens the file as it is then, and nothing is kept from one to the next.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import weakref
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from lading.errors import RegistryUnavailable
from lading.registry.catalog.sql.database import Database
from lading.registry.catalog.sql.schema import schema_version
from lading.registry.catalog.sql.tables import SCHEMA

_Stamp = tuple[tuple[int, int] | None, ...]


def is_writable(path: Path) -> bool:
    """Return whether this process may change the catalog at `path`, and make files beside it."""
    # access(2) knows of read-only file systems too, where root may write as little as anybody.
    return os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)


def open_read_only(path: Path, busy_timeout_s: float) -> Database:
    """Open the catalog at `path` for reading. Raises `RegistryUnavailable` if its schema is not today's."""
    root = str(path.parent)
    source = _Source(path, busy_timeout_s)
    # Never pooled: a connection to a file that nobody is said to change would not see that it was changed.
    engine = create_engine("sqlite://", creator=source.connect, poolclass=NullPool)
    database = Database(engine, root, read_only=True)
    version = schema_version(database)
    if version != SCHEMA:
        raise RegistryUnavailable(
            f"registry `{root}`, which is read-only",
            expected=f"catalog schema {SCHEMA}",
            found="no tables" if version is None else f"{version}, written by an older lading",
            hint="any command, such as `lading list`, brings it up to date where it can be written to",
        )
    return database


class _Source:
    """Opens connections to one catalog file that this process may not write to."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._path = path
        self._wal, self._shm = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))
        self._busy_timeout_s = busy_timeout_s
        self._copy: Path | None = None
        self._copied: _Stamp = ()

    def connect(self) -> sqlite3.Connection:
        """Return a connection that sees every transaction that has ended."""
        log = _stamp(self._wal)
        if log is None or (log[1] == 0 and _stamp(self._shm) is None):
            # Whole in itself: the last process that wrote to it has closed it.
            return self._open(self._path, "immutable=1")
        # Another process writes, who may, or was killed. With its shared memory the log can be read in place.
        connection = self._open(self._path, "mode=ro")
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            connection.close()
            return self._open(self._copy_of_today(), "mode=rw")
        return connection

    def _open(self, path: Path, options: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(path))}?{options}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )

    def _copy_of_today(self) -> Path:
        """Return a copy of the file and its log, where SQLite may make its shared memory."""
        stamp = (_stamp(self._path), _stamp(self._wal))
        if self._copy is None or self._copied != stamp:
            folder = Path(tempfile.mkdtemp(prefix="lading-catalog-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            for file in (self._path, self._wal):
                shutil.copy(file, folder)
            self._copy, self._copied = folder / self._path.name, stamp
        return self._copy


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return the time of the last change of a file and its size; None without one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
