"""The catalog of a folder in SQLite: damaged, locked, without rights, replaced, created by many."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lading.errors import (
    ModelNotFound,
    RegistryUnavailable,
)
from lading.registry import Registry
from lading.registry.cache import BundleCache
from lading.registry.catalog.sql.tables import SCHEMA
from lading.registry.catalog.sqlite import open_sqlite
from lading.registry.store.folder import FolderStore
from support.bundles import linear_bundle
from support.files import files_below


@pytest.fixture
def registry(folder_registry) -> Registry:
    return folder_registry


NOBODY = 65534


def test_a_newer_catalog_is_refused_and_not_changed(root, bundle):
    with Registry.open(str(root)) as registry:
        registry.push(bundle)
    with contextlib.closing(sqlite3.connect(root / "catalog.db", isolation_level=None)) as newer:
        newer.execute("UPDATE lading_schema SET version = version + 1")
    words = f"expected catalog schema {SCHEMA}, found {SCHEMA + 1}"
    with pytest.raises(RegistryUnavailable, match=words) as caught:
        Registry.open(str(root))
    assert "upgrade" in caught.value.hint


def test_a_file_that_is_no_catalog_is_refused_and_not_changed(root):
    root.mkdir()
    (root / "catalog.db").write_bytes(b"something else entirely\n" * 100)
    with pytest.raises(RegistryUnavailable, match="not a database") as caught:
        Registry.open(str(root))
    assert "LADING_REGISTRY" in caught.value.hint
    assert (root / "catalog.db").read_bytes().startswith(b"something else")


def test_a_damaged_catalog_is_refused(root, bundle):
    with Registry.open(str(root)) as registry:
        registry.push(bundle)
    size = (root / "catalog.db").stat().st_size
    with (root / "catalog.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (size - 100))
    with pytest.raises(RegistryUnavailable, match="malformed"):
        Registry.open(str(root))


def test_a_file_instead_of_a_folder_is_refused(root):
    root.write_text("a file")
    with pytest.raises(RegistryUnavailable, match="registry") as caught:
        Registry.open(str(root))
    assert "LADING_REGISTRY" in caught.value.hint


def test_a_catalog_that_another_process_locks_is_unavailable_after_the_timeout(root, bundle):
    registry = Registry(
        open_sqlite(root, busy_timeout_s=0.1), FolderStore(root / "blobs"), BundleCache(root / "cache")
    )
    with registry, contextlib.closing(sqlite3.connect(root / "catalog.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryUnavailable, match="locked") as caught:
            registry.push(bundle)
        assert "try again" in caught.value.hint
        # Readers do not wait for a writer.
        assert registry.models() == []
        holder.execute("ROLLBACK")
        assert registry.push(bundle).version == 1


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Run as a user without rights: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_write_permission_is_unavailable(open_folder):
    open_folder.chmod(0o555)
    with as_nobody(), pytest.raises(RegistryUnavailable, match="permission denied") as caught:
        Registry.open(str(open_folder / "registry"))
    assert "run as a user" in caught.value.hint


def test_a_registry_without_write_permission_is_unavailable(open_folder, bundle):
    with Registry.open(str(open_folder / "registry")) as registry:
        registry.push(bundle)
    for path in (open_folder / "registry").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (open_folder / "registry").chmod(0o555)
    with as_nobody(), pytest.raises(RegistryUnavailable) as caught:
        Registry.open(str(open_folder / "registry"))
    assert "run as a user" in caught.value.hint
    (open_folder / "registry").chmod(0o755)


def test_a_registry_removed_while_open_refuses_a_push(registry, root, bundle):
    registry.push(bundle)
    shutil.rmtree(root)
    with pytest.raises(RegistryUnavailable, match="unable to open"):
        registry.push(bundle)
    assert not (root / "catalog.db").exists()


def test_a_catalog_restored_from_a_backup_is_read_by_the_next_call(registry, root, bundle, tmp_path):
    registry.push(bundle)
    with (
        contextlib.closing(sqlite3.connect(root / "catalog.db")) as source,
        contextlib.closing(sqlite3.connect(tmp_path / "backup.db")) as backup,
    ):
        source.backup(backup)
    registry.push(linear_bundle(tmp_path / "later", seed=1))
    for path in root.glob("catalog.db*"):
        path.unlink()
    (tmp_path / "backup.db").rename(root / "catalog.db")
    assert [version.version for version in registry.versions("iris")] == [1]


@pytest.mark.slow
def test_many_processes_that_open_a_new_registry_create_one(root):
    code = "import sys; from lading.registry import Registry; print(Registry.open(sys.argv[1]).models())"
    command = [sys.executable, "-c", code, str(root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, b"[]\n", b"")
    # Of several that end at the same moment, none may be the last to SQLite: the next one puts its log away.
    Registry.open(str(root)).close()
    assert files_below(root) == ["catalog.db"]


def test_an_interrupted_creation_is_finished_by_the_next_process(root):
    root.mkdir()
    # As after a kill between the switch to WAL and the tables.
    with contextlib.closing(sqlite3.connect(root / "catalog.new")) as begun:
        begun.execute("PRAGMA journal_mode = WAL")
    (root / "catalog.lock").touch()
    with Registry.open(str(root)) as registry:
        assert registry.models() == []
    with pytest.raises(ModelNotFound):
        registry.resolve("iris")
    registry.close()


@pytest.mark.slow
def test_a_catalog_that_was_cut_to_nothing_is_not_taken_for_a_new_one(root):
    with Registry.open(str(root)):
        pass
    (root / "catalog.db").write_bytes(b"")
    with pytest.raises(RegistryUnavailable, match=r"the tables of a catalog, found `catalog.db` of 0 bytes"):
        Registry.open(str(root))
    command = [sys.executable, "-m", "lading", "list", "--registry", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("error: catalog of registry")
    assert "restore it from a backup" in done.stderr
    assert (root / "catalog.db").stat().st_size == 0, "nothing was written into it"


def test_a_database_of_something_else_is_left_alone(root):
    root.mkdir()
    with contextlib.closing(sqlite3.connect(root / "catalog.db")) as other:
        other.execute("CREATE TABLE cats (name)")
    with pytest.raises(RegistryUnavailable, match="bytes without them"):
        Registry.open(str(root))
    with contextlib.closing(sqlite3.connect(root / "catalog.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("cats",)]


def test_the_catalog_is_in_wal_mode_checks_foreign_keys_and_syncs_fully(root):
    catalog = open_sqlite(root)
    with catalog.database.engine.connect() as connection:
        pragmas = ("journal_mode", "foreign_keys", "synchronous")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    catalog.close()
    assert values == ["wal", 1, 2]
