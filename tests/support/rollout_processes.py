"""What the rollout tests use, and what their processes do, which import only this."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from lading.registry.open import open_catalog
from lading.registry.releases import Releases
from lading.release import Plan
from lading.rollout import LEASE, Driver
from lading.verdict.limits import NO_LIMIT
from support.push_processes import DISK_CALLS
from support.release_processes import new_version, releases_at

AT_ONCE = Plan(mode="canary", steps=(10, 50, 100), hold_s=0, min_requests=0, gates=NO_LIMIT)
"""A plan whose every step is promoted by the next turn, without any traffic."""
CALLS = ("change", "current", "events", "lease", "lease_holder", "note", "release_lease", "releases")
CALLS += ("wanted", "windows")
EVERY_NTH = 1 if os.environ.get("LADING_TEST_EVERY_MOMENT") else 3


class Killed(BaseException):
    """Stands for a kill: nothing in the driver may catch it."""


class ObservedReleases:
    """The releases of a registry, with something that happens before and after each call of them.

    ``happens(moment)`` counts both: call 1 has the moments 1 and 2.
    """

    def __init__(self, releases: Releases, happens: Callable[[int], None]) -> None:
        self._releases = releases
        self._happens = happens
        self.moments = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._releases, name)
        if name not in CALLS:
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            self._moment()
            answer = real(*arguments, **named)
            self._moment()
            return answer

        return call

    def _moment(self) -> None:
        self.moments += 1
        self._happens(self.moments)


def two_versions(url: str) -> Releases:
    """Open a catalog with two versions of iris, the first of them live."""
    catalog = open_catalog(url)
    for bundle in (1, 2):
        catalog.add(new_version(bundle=bundle), (), lambda: None)
    catalog.close()
    releases = releases_at(url)
    releases.release("iris", 1, actor="ada")
    return releases


def driver_of(releases: Any, holder: str, **settings: Any) -> Driver:
    """Make a driver that does not rest between turns."""
    return Driver(releases, holder, share=1.0, **settings)


def drive(url: str, holder: str) -> None:
    """Drive the rollouts of a catalog until killed."""
    driver_of(releases_at(url), holder).run(threading.Event())


def dying_turn(url: str, moment: int) -> bool:
    """Take a turn in a process that is killed before its `moment`-th call that touches the disk.

    Tell whether it was killed, and did not live to the end. The process is forked: call this where there is
    one thread.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    try:
        driver = driver_of(releases_at(url), "first")
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
        releases = two_versions(model)
        releases.release("iris", 2, AT_ONCE, actor="ada")
        earlier = driver_of(releases, "earlier")
        for _ in range(step):
            earlier.turn()
        releases.release_lease(LEASE, "earlier")
        releases._catalog.close()
        moment, died = 1, True
        while died:
            url = f"{model}-{moment}"
            shutil.copytree(model, url)
            died = dying_turn(url, moment)
            results.put(url)
            moment += EVERY_NTH
    results.put(None)
