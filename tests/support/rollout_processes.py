"""What the rollout tests use, and what their processes do, which import only this."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from lading.registry import Registry
from lading.registry.open import open_catalog
from lading.release import Plan
from lading.rollout import LEASE, Driver
from lading.verdict.limits import NO_LIMIT
from support.push_processes import DISK_CALLS
from support.registries import registry_over, rows_at
from support.release_processes import new_version

AT_ONCE = Plan(mode="canary", steps=(10, 50, 100), hold_s=0, min_requests=0, gates=NO_LIMIT)
"""A plan whose every step is promoted by the next turn, without any traffic."""
EVERY_NTH = 1 if os.environ.get("LADING_TEST_EVERY_MOMENT") else 3


class Killed(BaseException):
    """Stands for a kill: nothing in the driver may catch it."""


class ObservedRegistry:
    """A registry with something that happens before and after each call that the driver makes.

    ``happens(moment)`` counts both: call 1 has the moments 1 and 2.
    """

    def __init__(self, registry: Registry, happens: Callable[[int], None]) -> None:
        self._happens = happens
        self.moments = 0
        self.releases = _ObservedPart(registry.releases, self._moment)
        self.traffic = _ObservedPart(registry.traffic, self._moment)
        self.fleet = _ObservedPart(registry.fleet, self._moment)

    def _moment(self) -> None:
        self.moments += 1
        self._happens(self.moments)


class _ObservedPart:
    def __init__(self, part: object, moment: Callable[[], None]) -> None:
        self._part = part
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._moment()
            answer = method(*arguments, **named)
            self._moment()
            return answer

        return call


def two_versions(url: str, **options: Any) -> Registry:
    """Open a catalog with two versions of iris, the first of them live."""
    registry = registry_over(open_catalog(url), **options)
    for bundle in (1, 2):
        registry.catalog.versions.add(new_version(bundle=bundle), (), lambda: None)
    registry.releases.begin("iris", 1, actor="ada")
    return registry


def driver_of(registry: Any, holder: str, **settings: Any) -> Driver:
    """Return a driver that does not rest between turns."""
    return Driver(registry, holder, share=1.0, **settings)


def drive(url: str, holder: str, started: Any) -> None:
    """Drive the rollouts of a catalog until killed; `started` is set after the first turn."""
    driver = driver_of(rows_at(url), holder)
    driver.turn()
    started.set()
    driver.run(threading.Event())


def dying_turn(url: str, moment: int) -> bool:
    """Take a turn in a process that is killed before its `moment`-th call that touches the disk.

    Return whether it was killed before the end of the turn. The process is forked: call this where there is
    one thread.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    try:
        driver = driver_of(rows_at(url), "first")
        left = moment

        def watch(_: Any, kind: str, function: Any) -> None:
            nonlocal left
            if kind == "c_call" and function.__name__ in DISK_CALLS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(watch)
        driver.turn()
        sys.setprofile(None)
    except BaseException:  # noqa: BLE001 - the parent process sees it
        os._exit(1)
    os._exit(0)


def die_at_each_moment(folder: str, results: Any) -> None:
    """Have a turn die at every `EVERY_NTH` moment of each step there is, and report all outcomes."""
    for step in range(3):
        model = f"{folder}/{step}"
        registry = two_versions(model)
        registry.releases.begin("iris", 2, AT_ONCE, actor="ada")
        earlier = driver_of(registry, "earlier")
        for _ in range(step):
            earlier.turn()
        registry.fleet.release_lease(LEASE, "earlier")
        registry.catalog.close()
        moment, died = 1, True
        while died:
            url = f"{model}-{moment}"
            shutil.copytree(model, url)
            died = dying_turn(url, moment)
            results.put(url)
            moment += EVERY_NTH
    results.put(None)
