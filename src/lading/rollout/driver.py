"""The rollout driver: moves traffic to a candidate step by step, as live evidence allows.

Reads windows, asks for the verdict and writes the change with its event in one transaction, under a lease
that one process holds at a time. The lease only saves work. What keeps a step from being skipped or taken
twice is that each change is one compare-and-set: a driver that was killed, or slept while another took over,
leaves a release that the next one can continue.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lading.clock import SteadyClock
from lading.errors import ConflictError, LadingError, RegistryReadOnly, RegistryUnavailable
from lading.release import Release
from lading.rollout.evidence import WindowReader, assess
from lading.rollout.moves import Move, apply, decide, paused
from lading.rollout.timeline import Timeline

if TYPE_CHECKING:
    from lading.registry import Registry

log = logging.getLogger("lading.rollout")

OnTurn = Callable[[bool, Mapping[str, str]], None]
"""Called after each turn with whether this process leads, and its last verdict on each running release."""

LEASE = "rollout"
# A killed leader is replaced once its lease has expired, within 10 s in all.
LEASE_S = 5.0


class Driver:
    """Drives every open release of a registry while it holds the lease.

    Its time is the catalog's, read once and moved on evenly: neither this host's clock nor that of a server
    that is set while a release runs hurries a step or makes traffic disappear (`Timeline`).

    ``share`` is the part of the time that judging one release may take: a rollout of many hours has many
    windows, and the driver runs beside a server.
    """

    def __init__(
        self,
        registry: Registry,
        holder: str,
        *,
        interval_s: float = 1.0,
        share: float = 0.1,
        clock: Callable[[], float] | None = None,
        steady: Callable[[], float] = time.monotonic,
        report: OnTurn | None = None,
    ) -> None:
        self._report = report
        self._verdicts: dict[str, str] = {}
        self._registry = registry
        self._holder = holder
        self._interval_s = interval_s
        self._share = share
        self._steady = SteadyClock(registry.fleet.now, steady)
        self._clock = clock or self._steady
        self._timeline = Timeline()
        self._leading = False
        self._reader = WindowReader(registry, steady)
        self._rest_until: dict[str, float] = {}

    def turn(self) -> list[Release]:
        """Drive each open release by at most one move, if this process leads; return those that changed."""
        # Renewed with every turn, and taken as soon as another holder lets it expire.
        leading = self._registry.fleet.lease(LEASE, self._holder, LEASE_S)
        if leading != self._leading:
            self._leading = leading
            log.info("%s", "driving the rollouts" if leading else "another process drives the rollouts")
        if not leading:
            self._verdicts = {}
            self._tell()
            return []
        # A paused release waits for a person, and an ended one for nothing.
        running = [release for release in self._registry.releases.wanted() if release.state == "running"]
        self._reader.keep(running)
        self._timeline.keep(running)
        if not running:
            self._steady.forget()
        driven = [self._drive(release) for release in running if self._rested(release.name)]
        changed = [release for release in driven if release is not None]
        names = {release.name for release in running} - {
            release.name for release in changed if not release.is_open
        }
        self._verdicts = {name: action for name, action in self._verdicts.items() if name in names}
        self._tell()
        return changed

    def run(self, stop: threading.Event) -> None:
        """Take turns until `stop` is set; rollouts wait while the catalog is unreachable.

        Returns at once if the registry is read-only.
        """
        unreachable = False
        while not stop.is_set():
            try:
                self.turn()
                unreachable = False
            except RegistryReadOnly as error:
                log.warning("no rollout is driven from here: %s", error.message)
                return
            except RegistryUnavailable as error:
                # Once for an outage, and not with every turn.
                if not unreachable:
                    log.warning("catalog unreachable; rollouts wait: %s", error.message)
                unreachable = True
            except Exception:
                # The edge of a thread: without this, all rollouts would stop, and nobody would know why.
                log.exception("a turn of the rollouts failed; the next one tries again")
            stop.wait(self._interval_s)
        self._verdicts = {}
        if self._leading:
            self._leading = False
            self._tell()
            try:
                self._registry.fleet.release_lease(LEASE, self._holder)
            except RegistryUnavailable:
                log.info("the lease could not be released; it expires by itself")

    def _tell(self) -> None:
        if self._report is not None:
            self._report(self._leading, self._verdicts)

    def _rested(self, name: str) -> bool:
        return time.monotonic() >= self._rest_until.get(name, 0.0)

    def _drive(self, release: Release) -> Release | None:
        began = time.monotonic()
        move = self._judge(release)
        ended = time.monotonic()
        # A judgement of 20 ms with a share of 0.1 rests for 180 ms.
        self._rest_until[release.name] = ended + (ended - began) * (1 / self._share - 1)
        if move is None:
            return None
        try:
            changed = apply(self._registry, release, move)
        except ConflictError:
            # A person or another driver was quicker; the next turn looks at the release again.
            log.info("release %d of %s was changed meanwhile", release.number, release.name)
            return None
        log.info("%s: %s %s: %s", release.name, move.event.kind, move.event.to, move.event.reason)
        return changed

    def _judge(self, release: Release) -> Move | None:
        """Choose the move; a release that cannot be judged is paused, so that the others go on."""
        try:
            now = self._clock()
            placed, windows = self._timeline.place(release, self._reader.windows(release), now)
            verdict = assess(placed, windows, now, self._timeline.started_at(release))
        except RegistryUnavailable:
            raise
        except LadingError as error:
            return paused(release, self._holder, f"cannot be judged: {error.message}")
        self._verdicts[release.name] = verdict.action
        return decide(release, verdict, self._holder)


def unique_holder(replica: str = "") -> str:
    """Return a name for a driver that no other has, even if host names and process ids repeat."""
    where = replica or f"{socket.gethostname()}:{os.getpid()}"
    return f"driver@{where}-{secrets.token_hex(2)}"
