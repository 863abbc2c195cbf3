"""Reads the catalog again and again: pages cost it nothing, and can be read while it is unreachable."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lading.clock import back_off_s
from lading.errors import LadingError, one_line
from lading.hub.knowledge import Knowledge
from lading.registry import Registry
from lading.registry.catalog.runs import RunQuery
from lading.runs import RunState
from lading.trust.records import LastScans
from lading.trust.running import digests_of

log = logging.getLogger("lading.hub")

READ_EVERY_S = 2.0
SLOW_S = 3.0
"""After so long without an answer pages say so: a lock may last for longer than anybody waits."""

_MOST_PAUSE_S = 15.0
_MOST_ALARMS = 1000
_MOST_RUNS = 20
_NOT_FINISHED: Sequence[RunState] = ("running", "failed", "lost")
_UNREADABLE = "the catalog has something that cannot be read; the log of the hub says what"


@dataclass(frozen=True, slots=True)
class Known:
    """The last knowledge, None before the first; and why it is not newer, empty while the catalog answers."""

    knowledge: Knowledge | None
    failure: str = ""


class Follower:
    """The thread that reads the catalog; ``known`` is replaced as a whole, so any thread may look at it."""

    _known = Known(None)

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._clock = clock
        self._scans = LastScans(registry.attachments)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hub follower", daemon=True)
        # When the reading that goes on now has begun, and what is known if it takes long.
        self._reading: tuple[float, Known] | None = None

    @property
    def known(self) -> Known:
        """What is known; it has a failure as well while the catalog takes long to answer."""
        reading = self._reading
        if reading is not None and time.monotonic() - reading[0] > SLOW_S:
            return reading[1]
        return self._known

    def start(self) -> None:
        """Read once, and go on in the thread."""
        # The first page after a start shows something, or why not.
        self.read()
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        if self._thread.ident is not None:
            # With a limit: a thread that waits for a dead catalog must not keep the process; it is a daemon.
            self._thread.join(_MOST_PAUSE_S)

    def read(self) -> None:
        """Read what the catalog says now; if it does not answer, keep what is known, with the reason."""
        slow = self._known.failure or f"the catalog: expected an answer, found none in {SLOW_S:g} s"
        self._reading = (time.monotonic(), Known(self._known.knowledge, slow))
        try:
            knowledge = read_knowledge(self._registry, self._clock, self._scans)
        except LadingError as error:
            failure = one_line(error)
            # Once for each cause: an outage of a night would fill the log.
            if failure != self._known.failure:
                log.warning("the catalog does not answer: %s", failure)
            self._known = Known(self._known.knowledge, failure)
        except Exception:  # What another program has written there may be nothing that lading reads.
            if self._known.failure != _UNREADABLE:
                log.exception("the catalog could not be read")
            self._known = Known(self._known.knowledge, _UNREADABLE)
        else:
            if self._known.failure:
                log.info("the catalog answers again")
            self._known = Known(knowledge)
        finally:
            self._reading = None

    def _run(self) -> None:
        failures = 0
        while not self._ending.wait(
            back_off_s(failures, first_s=READ_EVERY_S, most_s=_MOST_PAUSE_S) if failures else READ_EVERY_S
        ):
            self.read()
            failures = failures + 1 if self.known.failure else 0


def read_knowledge(
    registry: Registry, clock: Callable[[], float] = time.time, scans: LastScans | None = None
) -> Knowledge:
    """Read what is known of everything: eight queries, and one for each scan that `scans` has not read.

    Raises `RegistryUnavailable`.
    """
    # Before the queries: what changes while they run is newer than that.
    read_at = clock()
    replicas = registry.fleet.replicas()
    scans = scans or LastScans(registry.attachments)
    return Knowledge(
        newest={version.name: version for version in registry.versions.newest()},
        releases={release.name: release for release in registry.releases.wanted()},
        replicas=replicas,
        scans=scans.read(digests_of(replica for replica in replicas if not replica.gone)),
        alarms=registry.monitoring.alarms(open_only=True, limit=_MOST_ALARMS),
        runs=[
            run for state in _NOT_FINISHED for run in registry.runs.page(RunQuery(state=state), _MOST_RUNS)
        ],
        read_at=read_at,
    )
