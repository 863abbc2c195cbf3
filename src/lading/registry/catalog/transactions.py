"""Transactions of a catalog in SQL, and what becomes of their faults. Knows no table.

`read` sees one moment. `write` locks the rows that it says; `alone` runs while no other `alone` does. How an
engine does so is its own part (``sqlite``, ``postgres``): it sees the execution option `KIND`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lading.errors import RegistryUnavailable

Kind = Literal["read", "write", "alone"]
KIND = "lading_kind"
"""Execution option that tells an engine what kind of transaction begins."""

_HINTS = {
    "locked": "another process holds it for long; try again",
    "readonly": "run as a user who may write there: a registry is written to even when serving",
    "unable to open": "run as a user who may read and write there, or name another with `LADING_REGISTRY`",
    "full": "free some space, for example with `lading gc`",
    "not a database": "it is no catalog of lading: name another folder with `LADING_REGISTRY`",
    "malformed": "the catalog is damaged: restore it from a backup; the blobs are not touched by this",
    "onnection refused": "is PostgreSQL running there? `pg_isready` asks it",
    "authentication failed": "give the password in `PGPASSWORD` or `~/.pgpass`",
    "permission denied": "the user needs the right to read and write, and once to create tables",
    'database "': "create it first: `createdb`",
    "lock timeout": "another process holds it for long; try again",
    "read-only": "this is a standby or read-only: name the primary with `LADING_REGISTRY`",
}

_OUTAGES = ("08", "25006", "42501", "53", "57", "58", "55P03")
"""SQLSTATEs that say something of the server and not of the statement: gone, full, read-only, not allowed.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""


class Transactions:
    """Runs transactions over an engine; `where` is the registry's name in messages.

    `options` are execution options for transactions of a kind.
    """

    def __init__(
        self, engine: Engine, where: str, *, options: Mapping[Kind, Mapping[str, Any]] | None = None
    ) -> None:
        self._engine = engine
        self._where = where
        self._first: Callable[[], object] | None = None
        self._preparing = threading.RLock()
        self._is_preparing = False
        kinds: tuple[Kind, ...] = get_args(Kind)
        self._engines = {
            kind: engine.execution_options(**{KIND: kind}, **(options or {}).get(kind, {})) for kind in kinds
        }

    @property
    def where(self) -> str:
        """Name the registry in messages."""
        return self._where

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def prepare_later(self, prepare: Callable[[], object]) -> None:
        """Have `prepare` run before the first transaction but its own; where it raises, before the next."""
        self._first = prepare

    @contextmanager
    def transaction(self, kind: Kind) -> Iterator[Connection]:
        """Run one transaction; commits at the end. Raises `RegistryUnavailable`."""
        if self._first is not None:
            self._prepare()
        with catalog_faults(self._where), self._engines[kind].begin() as connection:
            yield connection

    def _prepare(self) -> None:
        with self._preparing:  # Of one thread: its own transactions come through here as well.
            if self._first is None or self._is_preparing:
                return
            self._is_preparing = True
            try:
                self._first()
                self._first = None
            finally:
                self._is_preparing = False


@contextmanager
def catalog_faults(where: str) -> Iterator[None]:
    """Turn what a database says of itself, not of a statement, into `RegistryUnavailable`."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if not _is_outage(error):
            raise
        # PostgreSQL says it in several lines.
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        hint = next((hint for word, hint in _HINTS.items() if word in text), None)
        where = f"catalog of registry `{where}`"
        raise RegistryUnavailable(where, expected="an answer", found=text, hint=hint) from error


def _is_outage(error: DBAPIError | PoolTimeout) -> bool:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state is not None:
        return str(state).startswith(_OUTAGES)
    # The subclasses of DatabaseError but OperationalError are faults of a statement, which are ours.
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout) or type(error) is DatabaseError
