"""Several processes at one registry, some killed at any moment: nothing is lost, doubled or incomplete."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from lading.bundle import Bundle
from lading.registry import Registry
from support import push_processes as pushing
from support.bundles import linear_bundle
from support.files import files_below

PUSHES = 100
MOMENTS = 400  # more than any act has; each stops at its own end
EVERY_MOMENT = bool(os.environ.get("LADING_TEST_EVERY_MOMENT"))
"""Kill at every call instead of at some of them: ten minutes instead of one."""


@pytest.fixture(scope="module")
def processes():
    # Children fork from a server that has loaded the registry already and has no threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "lading.bundle",
            "lading.registry.cache",
            "lading.registry.store.folder",
            "lading.registry.catalog.sqlite",
        ]
    )
    return context


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return [linear_bundle(folder / str(seed), seed=seed, rows=2) for seed in range(2 * PUSHES)]


def paths_of(bundles: list[Bundle]) -> list[str]:
    return [str(bundle.path) for bundle in bundles]


@pytest.mark.slow
def test_no_version_is_lost_or_doubled_while_processes_push_list_pull_and_collect(
    processes, bundles, tmp_path
):
    root = str(tmp_path / "registry")
    stop, pushed, seen, rounds = processes.Event(), *(processes.Queue() for _ in range(3))
    first, second = paths_of(bundles[:PUSHES]), paths_of(bundles[PUSHES:])
    pushers = [
        processes.Process(target=pushing.push_all, args=(root, first, pushed)),
        # Some of the first one's bundles as well: the second push of a bundle gets its existing version.
        processes.Process(target=pushing.push_all, args=(root, [*second, *first[:20]], pushed)),
    ]
    watchers = [
        processes.Process(target=pushing.list_and_pull, args=(root, str(tmp_path / "pulled"), stop, seen)),
        processes.Process(target=pushing.collect, args=(root, stop, rounds)),
    ]
    for process in pushers + watchers:
        process.start()
    try:
        numbers = [pushed.get(timeout=60) for _ in pushers]
    finally:
        stop.set()
    listings, wrong = seen.get(timeout=60)
    collections = rounds.get(timeout=60)
    for process in pushers + watchers:
        process.join(60)
    assert [process.exitcode for process in pushers + watchers] == [0, 0, 0, 0]
    assert wrong == []
    assert listings > 10
    assert collections > 10
    check_all(root, bundles, numbers)


def check_all(root: str, bundles: list[Bundle], numbers: list[dict[str, int]]) -> None:
    with Registry.open(root) as registry:
        versions = registry.versions("iris")
        assert [version.version for version in versions] == list(range(1, 2 * PUSHES + 1))
        kept = {version.digest: version.version for version in versions}
        assert kept.keys() == {bundle.digest for bundle in bundles}
        for pushed in numbers:
            assert pushed.items() <= kept.items()
        for version in versions:
            assert registry.fetch(version.ref).digest == version.digest
        report = registry.gc(older_than_s=0)
        assert (report.removed, report.kept) == ((), 2 * PUSHES)


def run_killed(processes, moment: int, act, root: Path, bundle: Bundle) -> bool:
    """Run `act` in a process that dies at `moment`; return whether it was killed before the end."""
    child = processes.Process(target=pushing.die_at, args=(moment, act, str(root), str(bundle.path)))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


def check_working(root: Path, bundles: list[Bundle]) -> None:
    """Check that every listed version is complete, that `gc` cleans up, and that pushing works."""
    first, second = bundles[:2]
    with Registry.open(str(root)) as registry:
        listed = registry.versions("iris") if registry.models() else []
        assert [version.version for version in listed] == list(range(1, len(listed) + 1))
        assert [version.digest for version in listed] == [first.digest, second.digest][: len(listed)]
        for version in listed:
            assert registry.fetch(version.ref).digest == version.digest
        registry.gc(older_than_s=0)
        assert len(files_below(root / "blobs")) == len(listed)
        assert registry.push(first).version == 1
        assert registry.push(second, tags=["good"]).version == 2
        assert registry.resolve("iris:good").digest == registry.fetch("iris:2").digest == second.digest
        registry.gc(older_than_s=0)
    blobs = {name for name in files_below(root) if name.startswith("blobs/")}
    assert len(blobs) == 2
    assert {name.partition("/")[0] for name in files_below(root)} <= {"blobs", "cache", "catalog.db"}
    assert not list((root / "cache" / "unpacking").glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "step"),
    [(pushing.push_one, 23), (pushing.open_new, 37), (pushing.fetch_one, 37), (pushing.collect_once, 37)],
)
def test_a_kill_at_any_moment_leaves_a_working_registry_that_gc_cleans_up(
    processes, bundles, tmp_path, act, step
):
    ready = tmp_path / "ready"
    if act is not pushing.open_new:
        with Registry.open(str(ready)) as registry:
            registry.push(bundles[0])
            if act is pushing.collect_once:
                registry.fetch(registry.push(bundles[2]).ref)
                registry.remove("iris:2")
    for moment in range(1, MOMENTS, 1 if EVERY_MOMENT else step):
        root = tmp_path / str(moment)
        if ready.exists():
            shutil.copytree(ready, root)
        killed = run_killed(processes, moment, act, root, bundles[1])
        if act is not pushing.collect_once:
            check_working(root, bundles)
        else:
            check_collected(root, bundles)
        shutil.rmtree(root)
        if not killed:
            break
    assert not killed, f"`{act.__name__}` has more than {MOMENTS} moments"
    assert moment > 5


def check_collected(root: Path, bundles: list[Bundle]) -> None:
    with Registry.open(str(root)) as registry:
        registry.gc(older_than_s=0)
        assert registry.fetch("iris").digest == bundles[0].digest
        assert len(files_below(root / "blobs")) == 1
        assert [path.name for path in (root / "cache").iterdir() if path.name != "unpacking"] == [
            bundles[0].digest.removeprefix("sha256:")
        ]
        assert registry.push(bundles[2]).version == 3


@pytest.mark.slow
def test_pushers_killed_at_random_lose_nothing_that_was_listed(processes, bundles, tmp_path):
    root, known, clock = tmp_path / "registry", {}, random.Random(4)
    for turn in range(25):
        # The moments above are between calls; these are inside them as well, such as during a commit.
        some = paths_of(bundles[turn * 4 : turn * 4 + 60])
        began = processes.Event()
        child = processes.Process(target=pushing.push_until_killed, args=(str(root), some, began))
        child.start()
        assert began.wait(30)
        time.sleep(clock.uniform(0.0, 0.25))
        child.kill()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        with Registry.open(str(root)) as registry:
            versions = registry.versions("iris") if registry.models() else []
            listed = {version.version: version.digest for version in versions}
            assert known.items() <= listed.items()
            assert sorted(listed) == list(range(1, len(listed) + 1))
            assert len(set(listed.values())) == len(listed)
            if listed:
                assert registry.fetch("iris").digest == listed[len(listed)]
            registry.gc(older_than_s=0)
            assert registry.gc(older_than_s=0, dry_run=True).kept == len(listed)
        known = listed
    assert len(known) > 10
    assert not [name for name in files_below(root / "blobs") if not name.startswith("sha256/")]
