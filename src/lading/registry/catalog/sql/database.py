"""Transactions of a catalog in SQL, and its errors. Knows no table.

``read`` sees one moment. ``write`` locks the rows that its statements lock; ``exclusive`` runs while no other
``exclusive`` does. How an engine does so is its own part (``sqlite``, ``postgres``): it reads the execution
option `KIND`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lading.blobs.os_errors import read_only
from lading.errors import RegistryUnavailable

Kind = Literal["read", "write", "exclusive"]
# The execution option by which an engine sees what kind of transaction begins.
KIND = "lading_kind"

# Neither driver numbers these errors in a way that both share, so they are known by their words.
_HINTS = {
    "locked": "another process holds it for long; try again",
    "readonly": "run as a user who may write there, or see whether its file system became read-only",
    "unable to open": "run as a user who may read and write there, or name another with `LADING_REGISTRY`",
    "full": "free some space, for example with `lading gc`",
    "not a database": "it is no catalog of lading: name another folder with `LADING_REGISTRY`",
    "malformed": "the catalog is damaged: restore it from a backup; the blobs are not touched by this",
    "onnection refused": "is PostgreSQL running there? `pg_isready` asks it",
    "authentication failed": "give the password in `PGPASSWORD` or `~/.pgpass`",
    "permission denied": "the user needs the right to read and write, and once to create tables",
    'database "': "create it first: `createdb`",
    "lock timeout": "another session has locked what is needed: `SELECT * FROM pg_locks` shows which",
    "statement timeout": "the database is slow or overloaded; try again",
    "read-only": "this is a standby or read-only: name the primary with `LADING_REGISTRY`",
}

# SQLSTATEs that are about the server and not about the statement: gone, full, read-only, not allowed.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGES = ("08", "25006", "42501", "53", "57", "58", "55P03")


class Database:
    """Runs transactions over an engine; `where` is the registry's name in messages.

    `options` are execution options for transactions of a kind. A `read_only` one refuses those that write.
    """

    def __init__(
        self,
        engine: Engine,
        where: str,
        *,
        options: Mapping[Kind, Mapping[str, Any]] | None = None,
        read_only: bool = False,
    ) -> None:
        self.engine = engine
        self.where = where
        self.read_only = read_only
        self._prepare: Callable[[], object] | None = None
        # Reentrant: the transactions of the preparation itself come through `transaction` as well.
        self._preparing = threading.RLock()
        self._is_preparing = False
        kinds: tuple[Kind, ...] = get_args(Kind)
        self._engines = {
            kind: engine.execution_options(**{KIND: kind}, **(options or {}).get(kind, {})) for kind in kinds
        }

    def close(self) -> None:
        """Close all connections; the next transaction opens new ones."""
        self.engine.dispose()

    def prepare_later(self, prepare: Callable[[], object]) -> None:
        """Call `prepare` before the first transaction but its own; if it raises, before the next again."""
        self._prepare = prepare

    @contextmanager
    def transaction(self, kind: Kind) -> Iterator[Connection]:
        """Run one transaction, which commits at the end. Raises `RegistryUnavailable`, `RegistryReadOnly`."""
        if self.read_only and kind != "read":
            raise read_only(self.where)
        if self._prepare is not None:
            self._run_preparation()
        with catalog_errors(self.where), self._engines[kind].begin() as connection:
            yield connection

    def _run_preparation(self) -> None:
        with self._preparing:
            if self._prepare is None or self._is_preparing:
                return
            self._is_preparing = True
            try:
                self._prepare()
                self._prepare = None
            finally:
                self._is_preparing = False


@contextmanager
def catalog_errors(where: str) -> Iterator[None]:
    """Raise `RegistryUnavailable` for an error that is about the database and not about a statement."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if not _is_outage(error):
            raise
        # PostgreSQL's messages have several lines.
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        hint = next((hint for word, hint in _HINTS.items() if word in text), None)
        where = f"catalog of registry `{where}`"
        raise RegistryUnavailable(where, expected="an answer", found=text, hint=hint) from error


def _is_outage(error: DBAPIError | PoolTimeout) -> bool:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state is not None:
        return str(state).startswith(_OUTAGES)
    # The other subclasses of DatabaseError are faults of a statement, so of lading.
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout) or type(error) is DatabaseError
