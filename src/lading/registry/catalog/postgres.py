"""The catalog of many machines: PostgreSQL, over psycopg. Keeps no bytes of bundles: a store does.

A server that goes away is noticed within seconds, and the next transaction finds it again; nothing is retried
here.
"""

from __future__ import annotations

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from lading.errors import InvalidSetting, missing_extra
from lading.registry.catalog.sql import SqlCatalog
from lading.registry.catalog.sql.database import KIND, Database, Kind
from lading.registry.catalog.sql.schema import bring_up_to_date
from lading.registry.urls import SECRETS
from lading.release.seals import Keyring

CONNECT_TIMEOUT_S = 5
# How long a transaction waits for its turn before the catalog counts as unavailable. Readers wait for nobody
# but a migration, or a session that has locked a whole table.
LOCK_TIMEOUT_S: dict[Kind, int] = {"read": 10, "write": 30, "exclusive": 30}
# How long one statement may take; 0 for those of a migration, which may rewrite large tables.
STATEMENT_TIMEOUT_S: dict[Kind, int] = {"read": 30, "write": 120, "exclusive": 0}
# How long a server may leave bytes unacknowledged before its connection counts as broken.
SILENCE_S = 10

# The advisory lock of exclusive transactions: ``lading`` as a number.
_LOCK = 0x6C6164696E67


def open_postgres(url: str, *, at_once: bool = True, keyring: Keyring | None = None) -> SqlCatalog:
    """Open the catalog in the database that `url` names, and create its tables if there are none.

    ``postgresql://user@host:5432/database`` with libpq's parameters as its query. Raises `InvalidSetting`,
    `ExtraMissing` and `RegistryUnavailable`; the last only on first use if not `at_once`.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not the whole URL: what cannot be parsed may hold a password anywhere.
        actual = f"`{url.partition('://')[0]}://…`"
        raise InvalidSetting("registry", expected="postgresql://user@host/database", found=actual) from None
    secrets = [name for name in parsed.query if name.lower() in SECRETS]
    where = parsed.difference_update_query(secrets).render_as_string(hide_password=True)
    database = Database(
        postgres_engine(parsed),
        where,
        # Methods that read with two queries see one moment.
        options={"read": {"isolation_level": "REPEATABLE READ"}},
    )
    if not at_once:
        database.prepare_later(lambda: bring_up_to_date(database))
        return SqlCatalog(database, keyring)
    try:
        bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return SqlCatalog(database, keyring)


def postgres_engine(url: URL) -> Engine:
    """Return an engine that tests connections before use, and whose waits are bounded."""
    try:
        import psycopg  # noqa: F401 - only to say what is missing
    except ImportError as error:
        raise missing_extra("a registry in PostgreSQL", "postgres", error) from None
    # https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    defaults = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "lading",
        "keepalives_idle": SILENCE_S,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": SILENCE_S * 1000,
    }
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_timeout=LOCK_TIMEOUT_S["write"],
        # What the URL says wins.
        connect_args={name: value for name, value in defaults.items() if name not in url.query},
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    kind: Kind = connection.get_execution_options().get(KIND, "read")
    # In each transaction and not once for a connection: a pooler such as PgBouncer gives it to others.
    statements = [
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S[kind]}s'",
        f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S[kind]}s'",
    ]
    if kind == "exclusive":
        statements.append(f"SELECT pg_advisory_xact_lock({_LOCK})")
    connection.exec_driver_sql("; ".join(statements))
