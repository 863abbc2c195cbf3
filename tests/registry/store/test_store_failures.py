"""Transfers that are killed, run together or meet a full disk: an error or a complete bundle."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lading.bundle import Bundle
from lading.errors import RegistryUnavailable
from lading.registry import Registry
from support.bundles import linear_bundle
from support.waiting import wait_until

pytestmark = pytest.mark.slow

FETCHING = (
    "import sys\nfrom lading.registry import Registry\n"
    "with Registry.open(sys.argv[1]) as registry:\n    print(registry.fetch('iris:1').digest)\n"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    # 16 MB of weights take long enough to be interrupted.
    return linear_bundle(tmp_path_factory.mktemp("bundle") / "iris", features=2_000, classes=2_000, rows=1)


@pytest.fixture(params=["oci", "s3"])
def url(request, monkeypatch) -> str:
    url = request.getfixturevalue(f"{request.param}_url")
    monkeypatch.setenv("LADING_STORE", url)
    return url


@pytest.fixture
def root(url, bundle, tmp_path) -> Path:
    with Registry.open(str(tmp_path / "registry")) as registry:
        registry.push(bundle)
    return tmp_path / "registry"


def fetching(root: Path, **environ: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCHING, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **environ}, text=True)


def cached(root: Path) -> list[str]:
    cache = root / "cache"
    return [path.name for path in cache.iterdir() if path.name != "unpacking"] if cache.exists() else []


DYING = """
import os, signal, sys
import lading.bundle
from lading.registry import Registry

unpack, left = lading.bundle.unpack_tar, int(sys.argv[2])

class Reader:
    def __init__(self, source):
        self.source = source

    def read(self, *count):
        global left
        data = self.source.read(*count)
        left -= len(data)
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return data

def dying(source, *to, **options):
    unpack(Reader(source), *to, **options)
    os.kill(os.getpid(), signal.SIGKILL)

lading.bundle.unpack_tar = dying
with Registry.open(sys.argv[1]) as registry:
    registry.fetch("iris:1")
"""


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 1.0, 1.1], ids=lambda part: f"{part:.0%}")
def test_a_fetch_killed_at_any_byte_leaves_nothing_incomplete_and_the_next_one_succeeds(root, bundle, part):
    with Registry.open(str(root)) as registry:
        size = registry.resolve("iris:1").size_bytes
    # At 110 % it is read and unpacked, but not yet under its own name.
    command = [sys.executable, "-c", DYING, str(root), str(int(size * part))]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert cached(root) == []
    assert list((root / "cache" / "unpacking").iterdir()) != []
    with Registry.open(str(root)) as registry:
        assert registry.fetch("iris:1").digest == bundle.digest
    assert list((root / "cache" / "unpacking").iterdir()) == []


def test_processes_that_fetch_together_download_once(root, bundle, request):
    if "oci" not in os.environ["LADING_STORE"]:
        server, words = request.getfixturevalue("s3_server"), '"GET /bucket-'
    else:
        server, words = request.getfixturevalue("oci_server"), "GET /v2/models/"
    log, address = server.log, server.address
    before = log.read_text()
    processes = [fetching(root) for _ in range(3)]
    digests = [process.communicate()[0].strip() for process in processes]
    assert digests == [bundle.digest] * 3

    def downloads() -> set[str]:
        new = log.read_text().removeprefix(before).splitlines()
        return {line for line in new if words in line and "sha256" in line and '" 200' in line}

    # The server logs a request a moment after it has answered it, and these in their order: a second download
    # would stand before the mark.
    mark = f"GET /mark-{secrets.token_hex(4)}"
    httpx.get(f"http://{address}{mark.removeprefix('GET ')}")
    wait_until(lambda: mark in log.read_text())
    assert len(downloads()) == 1, downloads()


@pytest.fixture
def small_disk(tmp_path) -> Path:
    assert os.geteuid() == 0, "a file system of a given size takes root"
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_and_leaves_no_files(root, bundle, small_disk, monkeypatch):
    monkeypatch.setenv("LADING_CACHE", str(small_disk))
    with Registry.open(str(root)) as registry:
        with pytest.raises(RegistryUnavailable, match="no space left on device"):
            registry.fetch("iris:1")
        with pytest.raises(RegistryUnavailable, match="no space left on device") as caught:
            registry.pull("iris:1", small_disk / "pulled")
        assert "free some space there" in caught.value.hint
        assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    monkeypatch.delenv("LADING_CACHE")
    with Registry.open(str(root)) as registry:
        assert registry.fetch("iris:1").digest == bundle.digest


def test_a_disk_too_full_for_a_push_is_reported_and_leaves_no_version(bundle, small_disk, monkeypatch):
    monkeypatch.delenv("LADING_STORE", raising=False)
    with Registry.open(str(small_disk / "registry")) as registry:
        with pytest.raises(RegistryUnavailable, match="no space left on device") as caught:
            registry.push(bundle)
        assert "free some space" in caught.value.hint
        assert registry.models() == []
        assert [path for path in (small_disk / "registry" / "blobs").rglob("*") if path.is_file()] == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
        assert registry.push(bundle).version == 1
        assert registry.fetch("iris:1").digest == bundle.digest


def test_a_disk_too_full_for_the_catalog_is_reported_and_the_push_succeeds_later(
    small_disk, tmp_path, monkeypatch
):
    monkeypatch.setenv("LADING_STORE", str(tmp_path / "store"))
    small = linear_bundle(tmp_path / "bundle")
    with Registry.open(str(small_disk / "registry")) as registry:
        with (small_disk / "other").open("wb", buffering=0) as other, contextlib.suppress(OSError):
            while other.write(bytes(4096)):
                pass
        with pytest.raises(RegistryUnavailable, match="full") as caught:
            registry.push(small)
        assert caught.value.hint
        (small_disk / "other").unlink()
        assert registry.models() == []
        assert registry.push(small).version == 1


def test_the_progress_of_a_transfer_is_reported_to_its_end(root, bundle, tmp_path):
    up, down = [], []
    with Registry.open(str(root)) as registry:
        registry.store.delete(registry.resolve("iris:1").blob)
        size = registry.push(bundle, on_progress=lambda *counts: up.append(counts)).size_bytes
        registry.pull("iris:1", tmp_path / "pulled", on_progress=lambda *counts: down.append(counts))
    for reports in (up, down):
        assert reports[0] == (0, size)
        assert reports[-1] == (size, size)
        assert reports == sorted(reports)
        assert len(reports) > 10
