"""The catalog of a folder that is mounted read-only: whole, being written to, or left by a killed process."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from lading.errors import RegistryReadOnly, RegistryUnavailable
from lading.registry import Registry
from lading.registry.catalog.sql.tables import SCHEMA
from support.bundles import linear_bundle
from support.read_only import read_only
from support.recorded_evidence import push_proved


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return the folder of a registry with a model that is live; the caches are at home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Registry.open(str(tmp_path / "registry")) as registry:
        push_proved(registry, linear_bundle(tmp_path / "0", seed=0))
        registry.release("iris:1", actor="ada")
    return tmp_path / "registry"


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_a_read_only_registry_is_read_and_nothing_in_it_changes(folder, tmp_path):
    before = listing(folder)
    with read_only(folder, tmp_path / "ro") as at, Registry.open(str(at)) as registry:
        assert registry.read_only
        assert registry.models() == ["iris"]
        bundle = registry.fetch("iris:live")
        assert bundle.path.is_relative_to(tmp_path / "home")
        assert registry.pull("iris:1", tmp_path / "pulled").digest == bundle.digest
        assert registry.gc(dry_run=True).removed == ()
        for write in (
            lambda: registry.tag("iris:1", "best"),
            lambda: registry.remove("iris:1"),
            lambda: registry.release("iris:1", actor="ada"),
            registry.gc,
            lambda: registry.record(registry.evidence()[0]),
        ):
            with pytest.raises(RegistryReadOnly, match="expected a folder to write to, found a read-only"):
                write()
        with pytest.raises(RegistryUnavailable, match="read-only file system"):
            registry.push(linear_bundle(tmp_path / "1", seed=1))
    assert listing(folder) == before


def test_what_another_process_writes_meanwhile_is_seen(folder, tmp_path):
    with read_only(folder, tmp_path / "ro") as at, Registry.open(str(at)) as reader:
        with Registry.open(str(folder)) as writer:
            # Open: what it writes is in the log of the catalog, and not yet in its file.
            writer.tag("iris:1", "best")
            assert (folder / "catalog.db-wal").stat().st_size
            assert reader.resolve("iris:best").version == 1
            writer.untag("iris", "best")
            writer.tag("iris:1", "worst")
            assert reader.resolve("iris:1").tags == ("live", "worst")
        assert not (folder / "catalog.db-wal").exists()
        assert reader.resolve("iris:1").tags == ("live", "worst")


@pytest.mark.slow
@pytest.mark.parametrize("keep_memory", [True, False])
def test_what_a_killed_process_left_in_the_log_is_read(folder, tmp_path, keep_memory):
    code = f"""if True:
        import os, signal
        from lading.registry import Registry
        registry = Registry.open({str(folder)!r})
        registry.tag("iris:1", "best")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "catalog.db-wal").stat().st_size
    if not keep_memory:
        # As in a copy or a snapshot of the volume.
        (folder / "catalog.db-shm").unlink()
    with read_only(folder, tmp_path / "ro") as at, Registry.open(str(at)) as registry:
        assert registry.resolve("iris:best").version == 1


def test_a_read_only_catalog_of_another_schema_says_what_to_do(folder, tmp_path):
    with closing(sqlite3.connect(folder / "catalog.db")) as connection, connection:
        connection.execute("update lading_schema set version = 1")
    words = f"expected catalog schema {SCHEMA}, found 1, written by an older lading"
    with (
        read_only(folder, tmp_path / "ro") as at,
        pytest.raises(RegistryUnavailable, match=words) as caught,
    ):
        Registry.open(str(at))
    assert "`lading list`" in str(caught.value.hint)


def test_a_folder_for_the_cache_may_be_mounted_into_a_read_only_registry(folder, tmp_path):
    shutil.rmtree(folder / "cache", ignore_errors=True)
    (folder / "cache").mkdir()
    writable = tmp_path / "writable"
    writable.mkdir()
    with read_only(folder, tmp_path / "ro") as at:
        subprocess.run(["mount", "--bind", writable, at / "cache"], check=True)
        try:
            with Registry.open(str(at)) as registry:
                assert registry.fetch("iris:1").path.is_relative_to(at / "cache")
        finally:
            subprocess.run(["umount", "--lazy", at / "cache"], check=True)


def test_a_cache_that_cannot_be_written_to_says_how_to_name_another(folder, tmp_path, monkeypatch):
    with read_only(folder, tmp_path / "ro") as at:
        monkeypatch.setenv("LADING_CACHE", str(at / "cache"))
        with (
            Registry.open(str(at)) as registry,
            pytest.raises(RegistryUnavailable, match="read-only") as caught,
        ):
            registry.fetch("iris:1")
    assert "name a folder that can be written to in `LADING_CACHE`" in str(caught.value.hint)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_who_may_only_read_the_folder_reads_it(folder):
    # Not below `tmp_path`, which only its owner may enter.
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        copy = shutil.copytree(folder, Path(parent) / "registry")
        # What is needed is imported before: another user may not read where Python is.
        code = f"""if True:
            import os
            import lading.registry.catalog.sqlite
            from lading.registry import Registry
            os.setgid(65534), os.setuid(65534)
            registry = Registry.open({str(copy)!r})
            print(registry.read_only, registry.models())
        """
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True ['iris']\n", done.stderr
