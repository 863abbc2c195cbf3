"""A real PostgreSQL of its own for tests: in a temporary folder, on a free port of 127.0.0.1."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ports import free_port


class PostgresServer:
    """A server that can be stopped and started again on its port, with as many databases as are asked for."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._log = folder / "log"
        # PostgreSQL refuses to run as root; its package made this user.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user)
        self.port = free_port()
        self._numbers = itertools.count(1)
        self._run("initdb", "--auth=trust", "--username=lading", "--encoding=UTF8", "--no-sync")

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "--silent", "--wait", "--log", str(self._log), "--options", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` breaks connections off, ``immediate`` is a crash."""
        self._run("pg_ctl", "--silent", "--wait", "--mode", mode, "stop")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://lading@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(binaries() / program), "--pgdata", str(self._data), *arguments]
        # Output goes to a file: a server that inherited a pipe would keep its reader waiting.
        with tempfile.TemporaryFile("w+") as out:
            done = subprocess.run(
                command, check=False, user=self._user, cwd="/", stdout=out, stderr=out, timeout=60
            )
            out.seek(0)
            assert done.returncode == 0, out.read()


def binaries() -> Path:
    """Find initdb and pg_ctl, which Debian keeps out of the path."""
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    program = str(there[-1]) if there else shutil.which("pg_ctl")
    assert program, "no PostgreSQL here: `make services` installs it"
    return Path(program).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    # Not below pytest's folders, into which only their owner may go.
    folder = Path(tempfile.mkdtemp(prefix="lading-postgres-"))
    try:
        server = PostgresServer(folder)
        server.start()
        yield server
        server.stop("immediate")
    finally:
        shutil.rmtree(folder)
