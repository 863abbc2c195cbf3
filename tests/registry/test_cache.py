"""The cache of unpacked bundles: bounded, shared between processes, and never with an incomplete bundle."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lading.blobs.locks import lock_directory
from lading.bundle import Bundle
from lading.errors import DigestMismatch, RegistryUnavailable
from lading.registry.cache import BundleCache
from support.bundles import linear_bundle
from support.files import files_below, flip_bit


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return [linear_bundle(folder / str(seed), seed=seed) for seed in range(4)]


def unpacking(bundle: Bundle, calls: list[str]):
    def unpack(to: Path) -> Bundle:
        calls.append(bundle.digest)
        shutil.copytree(bundle.path, to)
        os.utime(to)  # the time is copied as well
        return Bundle.open(to)

    return unpack


def size_of(bundle: Bundle) -> int:
    return sum(path.stat().st_size for path in bundle.path.iterdir())


def fetch(cache: BundleCache, bundle: Bundle, calls: list[str] | None = None) -> Bundle:
    unpack = unpacking(bundle, [] if calls is None else calls)
    return cache.bundle(bundle.digest, unpack, size_bytes=size_of(bundle))


def cached(root: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in root.iterdir() if path.name != "unpacking"}


def age(root: Path, bundle: Bundle, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(root / bundle.digest.removeprefix("sha256:"), (then, then))


def test_the_least_recently_opened_bundle_is_evicted_if_there_is_no_room(bundles, tmp_path):
    cache = BundleCache(tmp_path, max_bytes=size_of(bundles[0]) * 5 // 2)
    for number, bundle in enumerate(bundles[:2]):
        fetch(cache, bundle)
        age(tmp_path, bundle, 100 - number)
    fetch(cache, bundles[0])  # opened again: now the other is the oldest
    fetch(cache, bundles[2])
    assert cached(tmp_path) == {bundles[0].digest, bundles[2].digest}


def test_bundles_unpacked_together_keep_to_the_limit(bundles, tmp_path):
    cache = BundleCache(tmp_path, max_bytes=size_of(bundles[0]) * 5 // 2)

    def fetch_while_others_do(first: Bundle, *others: Bundle) -> None:
        def unpack(to: Path) -> Bundle:
            if others:
                fetch_while_others_do(*others)
            return unpacking(first, [])(to)

        cache.bundle(first.digest, unpack, size_bytes=size_of(first))

    # Each makes room while none of the others exists yet.
    fetch_while_others_do(*bundles)
    assert cached(tmp_path) == {bundles[0].digest, bundles[1].digest}


def test_bundles_unpacked_together_under_a_small_limit_are_kept_while_they_are_open(bundles, tmp_path):
    together, held = threading.Barrier(len(bundles)), []

    def run(bundle: Bundle) -> None:
        def unpack(to: Path) -> Bundle:
            together.wait()
            return unpacking(bundle, [])(to)

        cache = BundleCache(tmp_path, max_bytes=1)
        held.append(cache.bundle(bundle.digest, unpack, size_bytes=size_of(bundle)))

    threads = [threading.Thread(target=run, args=(bundle,)) for bundle in bundles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(Bundle.open(bundle.path).digest for bundle in held) == sorted(
        bundle.digest for bundle in bundles
    )


@pytest.mark.slow
def test_a_bundle_in_use_is_never_evicted(bundles, tmp_path):
    cache = BundleCache(tmp_path, max_bytes=0)
    held = [fetch(cache, bundle) for bundle in bundles[:2]]
    assert cached(tmp_path) == {bundle.digest for bundle in bundles[:2]}
    assert cache.sweep(set, time.time() + 1, dry_run=False) == []
    assert all(bundle.samples().rows for bundle in held)
    held.clear()
    gc.collect()
    fetch(cache, bundles[2])
    assert cached(tmp_path) == {bundles[2].digest}


@pytest.mark.slow
def test_a_bundle_that_another_process_uses_is_kept_until_that_process_dies(bundles, tmp_path):
    cache = BundleCache(tmp_path, max_bytes=0)
    path = fetch(cache, bundles[0]).path
    gc.collect()
    script = (
        "import sys\nfrom pathlib import Path\nfrom lading.registry.cache import BundleCache\n"
        "held = BundleCache(Path(sys.argv[1])).bundle(sys.argv[2], None)\n"
        "print('open', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), bundles[0].digest]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "open\n"
        fetch(cache, bundles[1])
        assert path.exists()
        process.kill()
        process.wait()
    gc.collect()
    fetch(cache, bundles[2])
    assert cached(tmp_path) == {bundles[2].digest}


@pytest.mark.slow
def test_a_sweep_tolerates_others_that_unpack_and_remove_meanwhile(bundles, tmp_path):
    cache, stop, failed = BundleCache(tmp_path), threading.Event(), []

    def unpack_and_remove() -> None:
        while not stop.is_set():
            fetch(cache, bundles[0])
            cache.sweep(set, time.time() + 1, dry_run=False)

    def sweep() -> None:
        try:
            for _ in range(1500):
                cache.sweep(set, time.time() + 1, dry_run=True)
        except RegistryUnavailable as error:
            failed.append(error)

    threads = [threading.Thread(target=act) for act in (unpack_and_remove, sweep)]
    for thread in threads:
        thread.start()
    threads[1].join()
    stop.set()
    threads[0].join()
    assert failed == []


def test_a_bundle_that_many_ask_for_together_is_unpacked_once(bundles, tmp_path):
    calls, digests = [], []

    def run() -> None:
        digests.append(fetch(BundleCache(tmp_path), bundles[0], calls).digest)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [bundles[0].digest] * 8
    assert calls == [bundles[0].digest]


@pytest.mark.slow
def test_every_bundle_returned_is_complete_while_many_threads_unpack_and_evict(bundles, tmp_path):
    failures = []

    def run(turn: int) -> None:
        cache = BundleCache(tmp_path, max_bytes=size_of(bundles[0]))
        for at in range(25):
            bundle = bundles[(turn + at) % len(bundles)]
            try:
                assert fetch(cache, bundle).samples().rows == 16
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                failures.append(error)

    threads = [threading.Thread(target=run, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list((tmp_path / "unpacking").iterdir()) == []


DYING = """
import os, signal, sys
from pathlib import Path
from lading.registry.cache import BundleCache

def unpack(to):
    to.mkdir()
    (to / "bundle.json").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

BundleCache(Path(sys.argv[1])).bundle(sys.argv[2], unpack)
"""


def test_a_kill_while_unpacking_leaves_no_incomplete_bundle_and_the_next_call_succeeds(bundles, tmp_path):
    command = [sys.executable, "-c", DYING, str(tmp_path), bundles[0].digest]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert cached(tmp_path) == set()
    assert fetch(BundleCache(tmp_path), bundles[0]).digest == bundles[0].digest
    assert list((tmp_path / "unpacking").iterdir()) == []


def test_a_failed_unpacking_leaves_nothing(bundles, tmp_path):
    def unpack(to: Path) -> Bundle:
        to.mkdir()
        raise RegistryUnavailable("the store", expected="it", found="none")

    with pytest.raises(RegistryUnavailable, match="the store"):
        BundleCache(tmp_path).bundle(bundles[0].digest, unpack)
    assert cached(tmp_path) == set()
    assert list((tmp_path / "unpacking").iterdir()) == []


def damaged(cache: BundleCache, bundle: Bundle) -> Path:
    """Put the bundle into the cache, change one byte, and leave no process that has it open."""
    path = fetch(cache, bundle).path
    gc.collect()
    model = path / "model.onnx"
    data = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return path


@pytest.mark.slow
def test_a_damaged_bundle_that_many_open_together_is_unpacked_again_once(bundles, tmp_path):
    damaged(BundleCache(tmp_path), bundles[0])
    calls, digests, failures = [], [], []
    together = threading.Barrier(8)

    def run() -> None:
        cache = BundleCache(tmp_path)
        together.wait()
        try:
            digests.append(Bundle.open(fetch(cache, bundles[0], calls).path).digest)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert digests == [bundles[0].digest] * 8
    assert calls == [bundles[0].digest]
    assert list((tmp_path / "unpacking").iterdir()) == []


@pytest.mark.slow
def test_a_damaged_bundle_waits_for_another_process_that_is_just_opening_it(bundles, tmp_path):
    cache = BundleCache(tmp_path)
    other = lock_directory(damaged(cache, bundles[0]))
    timer = threading.Timer(0.3, other.release)
    timer.start()
    assert fetch(cache, bundles[0]).digest == bundles[0].digest
    timer.join()


@pytest.mark.slow
def test_a_damaged_bundle_that_another_process_keeps_open_is_refused_and_kept(bundles, tmp_path):
    cache, calls = BundleCache(tmp_path), []
    other = lock_directory(damaged(cache, bundles[0]))
    for _ in range(2):
        with pytest.raises(DigestMismatch, match=r"model\.onnx") as caught:
            fetch(cache, bundles[0], calls)
    assert "unpacked again" in caught.value.hint
    assert calls == []
    other.release()
    assert fetch(cache, bundles[0], calls).digest == bundles[0].digest
    assert calls == [bundles[0].digest]


@pytest.mark.slow
def test_a_damaged_bundle_whose_store_is_damaged_too_is_unpacked_once_and_refused(bundles, tmp_path):
    cache, calls = BundleCache(tmp_path), []
    damaged(cache, bundles[0])

    def unpack(to: Path) -> Bundle:
        calls.append(to)
        raise DigestMismatch("`model.onnx`", expected="`a`", found="`b`", hint="push it again")

    with pytest.raises(DigestMismatch) as caught:
        cache.bundle(bundles[0].digest, unpack)
    assert caught.value.hint == "push it again"
    assert len(calls) == 1
    assert cached(tmp_path) == set()


@pytest.mark.slow
def test_a_damaged_bundle_that_cannot_be_removed_is_refused_naming_the_damage(bundles, tmp_path):
    cache = BundleCache(tmp_path)
    damaged(cache, bundles[0])
    (tmp_path / "unpacking").rmdir()
    (tmp_path / "unpacking").touch()  # Stops root as well, unlike a read-only folder.
    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        fetch(cache, bundles[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "samples.npz", "requirements.txt"])
def test_a_bundle_with_a_changed_byte_is_unpacked_again_and_never_served(
    folder_registry, bundle, name, caplog
):
    folder_registry.push(bundle)
    path = folder_registry.fetch("iris").path
    flip_bit(path / name, (path / name).stat().st_size // 2)
    fetched = folder_registry.fetch("iris")
    assert fetched.path == path
    assert Bundle.open(path).digest == bundle.digest
    (message,) = caplog.messages
    assert name in message
    assert bundle.digest in message


def test_a_file_added_in_the_cache_is_not_served(folder_registry, bundle):
    folder_registry.push(bundle)
    (folder_registry.fetch("iris").path / "more.bin").write_bytes(b"?")
    assert files_below(folder_registry.fetch("iris").path) == files_below(bundle.path)
