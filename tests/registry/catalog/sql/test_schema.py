"""The schema of a catalog: created once by many processes, migrated from every older one, refused if new."""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from lading.errors import RegistryUnavailable
from lading.ref import Ref
from lading.registry.catalog.sql.tables import SCHEMA, metadata
from lading.registry.open import open_catalog
from lading.registry.urls import is_database
from lading.release import verify_chain
from support import release_processes as releasing
from support.registries import registry_over

OLD = sorted(Path(__file__).parents[3].joinpath("data").glob("catalog_schema_*.sqlite.sql"))
OLD_SCHEMAS = [int(path.name.removeprefix("catalog_schema_").partition(".")[0]) for path in OLD]


def make_old(url: str, version: int) -> None:
    """Create a catalog as a lading of that schema left it."""
    kind = "postgresql" if is_database(url) else "sqlite"
    script = Path(__file__).parents[3] / "data" / f"catalog_schema_{version}.{kind}.sql"
    if kind == "postgresql":
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(script.read_text())
        return
    Path(url).mkdir()
    with contextlib.closing(sqlite3.connect(Path(url) / "catalog.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(script.read_text())


def shape(connection: Connection) -> dict[str, object]:
    """Describe everything in a database, independently of the order in which it was created."""
    inspector = inspect(connection)
    shapes: dict[str, object] = {}
    for table in inspector.get_table_names():
        columns = inspector.get_columns(table)
        types = [(column["name"], str(column["type"]), column["nullable"]) for column in columns]
        defaults = [column["default"] for column in columns if column["name"] == "last_release"]
        keys = (inspector.get_pk_constraint(table), inspector.get_foreign_keys(table))
        more = (inspector.get_indexes(table), inspector.get_unique_constraints(table))
        shapes[table] = repr((types, defaults, keys, more))
    triggers = {
        "postgresql": "SELECT tgname, tgtype FROM pg_trigger WHERE NOT tgisinternal",
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    }
    rows = connection.execute(text(triggers[connection.dialect.name])).all()
    shapes["triggers"] = [tuple(" ".join(str(word).split()) for word in row) for row in rows]
    return shapes


def test_the_tables_are_those_that_the_code_describes(open_catalog):
    with open_catalog().database.transaction("read") as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_there_is_a_catalog_of_every_older_schema():
    assert list(range(1, SCHEMA)) == OLD_SCHEMAS


@pytest.mark.parametrize("old", OLD_SCHEMAS)
def test_an_old_catalog_is_migrated_with_everything_in_it(catalog_url, old, request, tmp_path):
    make_old(catalog_url, old)
    catalog = open_catalog(catalog_url)
    try:
        assert [version.version for version in catalog.versions.of("iris")] == [1, 3]
        assert catalog.versions.find(Ref("iris", tag="good")).metrics == {"accuracy": 0.9}
        assert catalog.versions.add(releasing.new_version(bundle=9), (), lambda: None).version == 4
        registry = registry_over(catalog)
        released = [1] if old > 1 else []  # Schema 1 knew no releases.
        assert [release.number for release in registry.releases.wanted()] == released
        registry.releases.begin("iris", 3 if released else 1, actor="ann")
        alarms = ["a"] if old > 2 else []  # Schema 2 knew no alarms.
        assert [alarm.id for alarm in registry.monitoring.alarms()] == alarms
        assert verify_chain(registry.releases.events()) is None
        new_url = (
            request.getfixturevalue("postgres").database() if is_database(catalog_url) else tmp_path / "n"
        )
        new = open_catalog(str(new_url))
        with catalog.database.transaction("read") as migrated, new.database.transaction("read") as made:
            assert shape(migrated) == shape(made)
        new.close()
    finally:
        catalog.close()


@pytest.mark.slow
@pytest.mark.parametrize("old", [None, 1])
def test_many_processes_together_create_or_migrate_one_catalog(catalog_url, old):
    if old is not None:
        make_old(catalog_url, old)
    processes = multiprocessing.get_context("forkserver")
    results = processes.Queue()
    running = [
        processes.Process(target=releasing.open_and_count, args=(catalog_url, results)) for _ in range(6)
    ]
    for process in running:
        process.start()
    assert [results.get(timeout=60) for _ in running] == [0 if old is None else 1] * 6
    for process in running:
        process.join(60)


def test_a_newer_schema_is_refused_naming_both_versions_and_left_unchanged(catalog_url):
    catalog = open_catalog(catalog_url)
    with catalog.database.transaction("write") as connection:
        connection.execute(text("UPDATE lading_schema SET version = version + 1"))
    words = f"expected catalog schema {SCHEMA}, found {SCHEMA + 1}, written by a newer lading"
    with pytest.raises(RegistryUnavailable, match=words) as caught:
        open_catalog(catalog_url)
    assert "pip install --upgrade lading-ml" in caught.value.hint
    # A process that has it open already goes on: a step only adds.
    assert catalog.versions.models() == []
    catalog.close()


@pytest.mark.parametrize("broken", ["CREATE TABLE events (id INTEGER)", "CREATE TABLE alarms (id INTEGER)"])
def test_a_migration_that_fails_changes_nothing(catalog_url, broken):
    make_old(catalog_url, 1)
    run(catalog_url, broken)
    with pytest.raises(Exception, match="already exists"):
        open_catalog(catalog_url)
    run(catalog_url, f"DROP TABLE {broken.split()[2]}")
    catalog = open_catalog(catalog_url)
    assert registry_over(catalog).releases.events() == []
    catalog.close()


def run(url: str, statement: str) -> None:
    if is_database(url):
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)
    else:
        with contextlib.closing(sqlite3.connect(Path(url) / "catalog.db")) as connection:
            connection.execute(statement)
            connection.commit()


@pytest.mark.slow
def test_alembic_is_loaded_only_to_migrate(catalog_url):
    code = (
        "import sys; from lading.registry.open import open_catalog; "
        "open_catalog(sys.argv[1]).versions.models(); print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, catalog_url]
    make_old(catalog_url, 1)
    outputs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert outputs == ["True\n", "False\n"]
