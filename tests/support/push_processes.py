"""What the processes of the concurrency tests do; multiprocessing starts each and imports only this."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lading.bundle import Bundle
from lading.registry import Registry

DISK_CALLS = frozenset(
    {"close", "commit", "execute", "fchmod", "fsync", "flock", "link", "mkdir", "open", "rename", "replace"}
    | {"rmdir", "rollback", "truncate", "unlink", "utime", "write"}
)
"""Built-in functions that touch the disk or the database: between them a kill makes a difference."""


def push_all(root: str, paths: list[str], results: Any) -> None:
    """Push the bundles at `paths` one by one and report ``{digest: version}``."""
    with Registry.open(root) as registry:
        done = [registry.push(Bundle.open(path)) for path in paths]
    results.put({version.digest: version.version for version in done})


def push_until_killed(root: str, paths: list[str], began: Any) -> None:
    """Push the bundles at `paths` one by one, and again from the first; set `began` before."""
    with Registry.open(root) as registry:
        bundles = [Bundle.open(path) for path in paths]
        began.set()
        while True:
            for bundle in bundles:
                registry.push(bundle)


def list_and_pull(root: str, folder: str, stop: Any, results: Any) -> None:
    """Until stopped, list all versions and pull the newest; report what was seen wrong and how often."""
    wrong, rounds = [], 0
    with Registry.open(root) as registry:
        while not stop.is_set() and not wrong:
            versions = registry.versions("iris") if registry.models() else []
            numbers = [version.version for version in versions]
            if numbers != list(range(1, len(numbers) + 1)):
                wrong.append(f"numbers {numbers}")
            if len({version.digest for version in versions}) != len(versions):
                wrong.append(f"a digest twice among {len(versions)}")
            for version in versions[-1:]:
                pulled = registry.pull(version.ref, Path(folder) / str(rounds))
                fetched = registry.fetch(version.ref)
                if not pulled.digest == fetched.digest == version.digest:
                    wrong.append(f"version {version.version} is another bundle")
            rounds += 1
    results.put((rounds, wrong))


def collect(root: str, stop: Any, results: Any) -> None:
    """Until stopped, remove all that nobody names, however young; report how often."""
    rounds = 0
    with Registry.open(root) as registry:
        while not stop.wait(0.005):
            registry.gc(older_than_s=0)
            rounds += 1
    results.put(rounds)


def open_new(root: str, _: str) -> None:
    """Make a registry."""
    Registry.open(root).close()


def push_one(root: str, path: str) -> None:
    """Push one bundle with a tag."""
    with Registry.open(root) as registry:
        registry.push(Bundle.open(path), tags=["good"])


def fetch_one(root: str, _: str) -> None:
    """Unpack the first version into the cache."""
    with Registry.open(root) as registry:
        registry.fetch("iris:1")


def collect_once(root: str, _: str) -> None:
    """Remove all that nobody names."""
    with Registry.open(root) as registry:
        registry.gc(older_than_s=0)


def die_at(moment: int, act: Callable[[str, str], None], root: str, path: str) -> None:
    """Do `act`, killed before the `moment`-th call that touches the disk; exit 0 if there are fewer."""
    left = moment

    def watch(_: Any, kind: str, function: Any) -> None:
        nonlocal left
        if kind == "c_call" and function.__name__ in DISK_CALLS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    act(root, path)
    sys.setprofile(None)
