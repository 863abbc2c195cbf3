"""The registry in a folder: its layout, its way with damage, and what it says when it cannot work."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.errors import (
    ArchiveInvalid,
    DestinationExists,
    DigestMismatch,
    FileMissing,
    InvalidSetting,
    ModelNotFound,
    RegistryUnavailable,
    SizeMismatch,
    UsageError,
)
from lading.registry import Registry
from lading.registry.cache import BundleCache
from lading.registry.catalog.sql.tables import SCHEMA
from lading.registry.catalog.sqlite import open_sqlite
from lading.registry.store.folder import FolderStore
from support.bundles import linear_bundle

NOBODY = 65534


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    return linear_bundle(tmp_path / "iris.bundle")


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def registry(root) -> Iterator[Registry]:
    with Registry.open(str(root)) as opened:
        yield opened


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def blob_path(root: Path, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return root / "blobs" / "sha256" / name[:2] / name


def test_the_layout_is_the_one_that_the_reference_describes(root, bundle):
    with Registry.open(str(root)) as registry:
        version = registry.push(bundle)
        fetched = registry.fetch("iris:1")
    blob, unpacked = version.blob.removeprefix("sha256:"), version.digest.removeprefix("sha256:")
    assert files_of(root) == sorted(
        [
            f"blobs/sha256/{blob[:2]}/{blob}",
            *(f"cache/{unpacked}/{name}" for name in files_of(bundle.path)),
            "catalog.db",
        ]
    )
    assert fetched.path == root / "cache" / unpacked


def test_the_environment_names_the_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("LADING_REGISTRY", str(tmp_path / "named"))
    with Registry.open() as registry:
        assert registry.where == str(tmp_path / "named")
    monkeypatch.delenv("LADING_REGISTRY")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Registry.open() as registry:
        assert registry.where == str(tmp_path / "home" / ".lading")
    with Registry.open("~/here") as registry:
        assert registry.where == str(tmp_path / "home" / "here")


def test_a_registry_stays_where_it_was_opened_when_the_process_goes_elsewhere(tmp_path, monkeypatch, bundle):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Registry.open("relative") as registry:
        monkeypatch.chdir(tmp_path / "elsewhere")
        registry.push(bundle)
        assert registry.fetch("iris").path.is_relative_to(tmp_path / "relative")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_blobs_can_be_kept_in_another_folder(root, tmp_path, bundle):
    with Registry.open(str(root), store=str(tmp_path / "blobs")) as registry:
        registry.push(bundle)
        assert registry.fetch("iris").digest == bundle.digest
    assert not (root / "blobs").exists()


@pytest.mark.parametrize("url", ["s3://bucket", "oci://host/repo", "http://host"])
def test_a_registry_of_a_form_that_this_lading_does_not_know_is_refused(url):
    with pytest.raises(InvalidSetting, match="expected a folder"):
        Registry.open(url)


@pytest.mark.parametrize("url", ["http://host", "s3://", "oci://host", "oci://host/Upper", "oci:///repo"])
def test_a_store_of_a_form_that_this_lading_does_not_know_is_refused(root, url):
    with pytest.raises(InvalidSetting, match="expected"):
        Registry.open(str(root), store=url)
    assert not root.exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ann:s3cret@db/x",
        "PostgreSQL://ann:s3cret@db/x?sslmode=require",
        "mysql://db/x?user=ann&password=s3cret&more=1",
        "mysql://db/x?Password=a@s3cret",
        "s3+https://key:s3cret@db/x",
        "http://ann:s3cret/s3cret@s3cret@db/x",
    ],
)
def test_a_url_that_is_refused_is_shown_without_its_password(root, url):
    for place in ({"url": url}, {"url": str(root), "store": url}):
        with pytest.raises(InvalidSetting, match=r"found `.*db/x.*`") as caught:
            Registry.open(**place)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("oci://ann:s3cret@host/repo", "docker login"),
        ("oci://ann:s3cret/s3cret@host/repo", "docker login"),
        ("s3://key:s3cret@bucket/prefix", "AWS_ACCESS_KEY_ID"),
        ("s3://key:s3cret/s3cret@bucket/prefix", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_a_store_with_a_password_in_its_url_is_refused_saying_where_that_belongs(root, url, hint):
    with pytest.raises(InvalidSetting, match=r"found `\w+://\*\*\*@") as caught:
        Registry.open(str(root), store=url)
    assert "s3cret" not in str(caught.value)
    assert hint in caught.value.hint


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "samples.npz", "requirements.txt"])
def test_a_byte_changed_in_the_cache_is_never_served_and_the_bundle_is_unpacked_anew(
    registry, bundle, name, caplog
):
    registry.push(bundle)
    path = registry.fetch("iris").path
    flip(path / name, (path / name).stat().st_size // 2)
    fetched = registry.fetch("iris")
    assert fetched.path == path
    assert Bundle.open(path).digest == bundle.digest
    (said,) = caplog.messages
    assert name in said
    assert bundle.digest in said


def test_a_byte_changed_in_the_cache_and_in_the_blob_is_refused(registry, root, bundle):
    version = registry.push(bundle)
    path = registry.fetch("iris").path
    for damaged in (path / "model.onnx", blob_path(root, version.blob)):
        flip(damaged, damaged.stat().st_size // 2)
    with pytest.raises(DigestMismatch) as caught:
        registry.fetch("iris")
    assert "push the bundle again" in caught.value.hint
    assert files_of(root / "cache") == []
    registry.push(bundle)
    assert registry.fetch("iris").digest == bundle.digest


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "samples.npz", "requirements.txt"])
def test_a_byte_changed_in_the_blob_is_refused_and_a_push_heals_it(registry, root, bundle, name, tmp_path):
    version = registry.push(bundle)
    path = blob_path(root, version.blob)
    content = (bundle.path / name).read_bytes()
    flip(path, path.read_bytes().index(content) + len(content) // 2)
    for get in (lambda: registry.fetch("iris"), lambda: registry.pull("iris", tmp_path / "pulled")):
        with pytest.raises(DigestMismatch, match=name) as caught:
            get()
        assert version.blob in caught.value.hint
        assert "push the bundle again" in caught.value.hint
    assert files_of(root / "cache") == []
    assert not (tmp_path / "pulled").exists()
    assert registry.push(bundle) == version
    assert registry.fetch("iris").digest == bundle.digest


@pytest.mark.parametrize("size", [0, 100, 4000])
def test_a_blob_cut_short_is_refused_and_leaves_nothing_in_the_cache(registry, root, bundle, size):
    os.truncate(blob_path(root, registry.push(bundle).blob), size)
    with pytest.raises((ArchiveInvalid, FileMissing, SizeMismatch)) as caught:
        registry.fetch("iris")
    assert "is damaged" in caught.value.hint
    assert files_of(root / "cache") == []


def test_a_blob_of_another_bundle_under_this_name_is_refused(registry, root, bundle, tmp_path):
    mine = registry.push(bundle)
    other = registry.push(linear_bundle(tmp_path / "other", seed=1))
    shutil.copy(blob_path(root, other.blob), blob_path(root, mine.blob))
    with pytest.raises(DigestMismatch, match=r"bundle\.json"):
        registry.fetch("iris:1")


def test_a_file_added_in_the_cache_is_not_served(registry, bundle):
    registry.push(bundle)
    (registry.fetch("iris").path / "more.bin").write_bytes(b"?")
    assert files_of(registry.fetch("iris").path) == files_of(bundle.path)


def test_a_bundle_changed_after_it_was_opened_is_not_pushed(registry, root, bundle):
    flip(bundle.model_path, 10)
    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        registry.push(bundle)
    assert registry.models() == []
    assert files_of(root / "blobs") == []


def test_a_newer_catalog_is_refused_and_left_alone(root, bundle):
    with Registry.open(str(root)) as registry:
        registry.push(bundle)
    with contextlib.closing(sqlite3.connect(root / "catalog.db", isolation_level=None)) as newer:
        newer.execute("UPDATE lading_schema SET version = version + 1")
    words = f"expected catalog schema {SCHEMA}, found {SCHEMA + 1}"
    with pytest.raises(RegistryUnavailable, match=words) as caught:
        Registry.open(str(root))
    assert "upgrade" in caught.value.hint


def test_a_file_that_is_no_catalog_is_refused_and_left_alone(root):
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


def test_a_file_in_the_registrys_place_is_refused(root):
    root.write_text("a file")
    with pytest.raises(RegistryUnavailable, match="registry") as caught:
        Registry.open(str(root))
    assert "LADING_REGISTRY" in caught.value.hint


def test_a_catalog_that_another_holds_is_unavailable_after_the_wait(root, bundle):
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
    """Be a user without rights for a while: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that other users can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_place_without_the_right_to_write_is_unavailable(open_folder):
    open_folder.chmod(0o555)
    with as_nobody(), pytest.raises(RegistryUnavailable, match="permission denied") as caught:
        Registry.open(str(open_folder / "registry"))
    assert "run as a user" in caught.value.hint


def test_a_registry_without_the_right_to_write_is_unavailable(open_folder, bundle):
    with Registry.open(str(open_folder / "registry")) as registry:
        registry.push(bundle)
    for path in (open_folder / "registry").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (open_folder / "registry").chmod(0o555)
    with as_nobody(), pytest.raises(RegistryUnavailable) as caught:
        Registry.open(str(open_folder / "registry"))
    assert "run as a user" in caught.value.hint
    (open_folder / "registry").chmod(0o755)


def test_a_store_that_takes_no_more_bytes_keeps_nothing_of_the_push(registry, root, tmp_path):
    big = linear_bundle(tmp_path / "big", features=300, classes=300)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RegistryUnavailable, match="file too large"):
            registry.push(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert registry.models() == []
    assert files_of(root / "blobs") == []
    assert registry.push(big).version == 1


def test_a_registry_removed_while_open_takes_no_push(registry, root, bundle):
    registry.push(bundle)
    shutil.rmtree(root)
    with pytest.raises(RegistryUnavailable, match="unable to open"):
        registry.push(bundle)
    assert not (root / "catalog.db").exists()


def test_a_catalog_restored_from_a_backup_is_read_at_once(registry, root, bundle, tmp_path):
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


@pytest.mark.parametrize("name", ["a b", "100%41", "what?mode=ro", "a#b", "모델"])
def test_a_registry_can_have_any_folder_name(tmp_path, bundle, name):
    with Registry.open(str(tmp_path / name)) as registry:
        registry.push(bundle)
    assert (tmp_path / name / "catalog.db").is_file()
    with Registry.open(str(tmp_path / name)) as registry:
        assert registry.fetch("iris").digest == bundle.digest


def test_a_pull_to_where_nothing_can_be_written_says_so(registry, bundle, open_folder):
    registry.push(bundle)
    (open_folder / "file").write_text("")
    with pytest.raises(UsageError, match="pull of `iris:1`"):
        registry.pull("iris", open_folder / "file" / "below")


DYING = """
import os, signal, sys
from pathlib import Path
import lading.bundle.writer as writer
from lading.registry import Registry

def die(source, digest, write):
    write("model.onnx", iter([b"half"]))
    os.kill(os.getpid(), signal.SIGKILL)

writer.read_archive = die
Registry.open(sys.argv[1]).pull("iris", Path(sys.argv[2]))
"""


def test_a_pull_removes_what_killed_ones_left_and_nothing_else(registry, bundle, root, tmp_path):
    registry.push(bundle)
    folder = tmp_path / "bundles"
    for _ in range(2):
        command = [sys.executable, "-c", DYING, str(root), str(folder / "iris")]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = [path.name for path in folder.iterdir() if path.is_dir()]
    assert left == [".iris.pull.tmp"], "room for one is enough, however often it is killed"
    (folder / ".iris.x.tmp").mkdir()  # of a `pack` that may be at it
    assert registry.pull("iris", folder / "iris").digest == bundle.digest
    assert sorted(path.name for path in folder.iterdir()) == [".iris.x.tmp", "iris"]


def test_pulls_to_one_place_at_once_leave_one_bundle_and_no_rest(registry, bundle, tmp_path):
    registry.push(bundle)
    folder, ends = tmp_path / "bundles", []

    def pull() -> None:
        try:
            ends.append(registry.pull("iris", folder / "iris").digest)
        except DestinationExists:
            ends.append("exists")

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["exists"] * 3 + [bundle.digest]
    assert [path.name for path in folder.iterdir()] == ["iris"]


@pytest.mark.slow
def test_opening_a_new_registry_from_many_processes_makes_one(root):
    code = "import sys; from lading.registry import Registry; print(Registry.open(sys.argv[1]).models())"
    command = [sys.executable, "-c", code, str(root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, b"[]\n", b"")
    assert files_of(root) == ["catalog.db"]


def test_a_creation_that_was_broken_off_is_finished_by_the_next(root):
    root.mkdir()
    # As after a kill between the switch to WAL and the tables.
    with contextlib.closing(sqlite3.connect(root / "catalog.db")) as begun:
        begun.execute("PRAGMA journal_mode = WAL")
    (root / "catalog.lock").touch()
    with Registry.open(str(root)) as registry:
        assert registry.models() == []
    with pytest.raises(ModelNotFound):
        registry.resolve("iris")
    registry.close()


def test_the_catalog_is_in_wal_mode_and_keeps_its_foreign_keys(root):
    catalog = open_sqlite(root)
    with catalog.database.engine.connect() as connection:
        pragmas = ("journal_mode", "foreign_keys", "synchronous")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    catalog.close()
    assert found == ["wal", 1, 2]


def test_the_contract_is_light_to_import():
    code = "import sys, lading.registry; print([n for n in sys.modules if n.split('.')[0] == 'sqlalchemy'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
