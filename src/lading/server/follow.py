"""Follow mode: reads the releases that are wanted, and has the manager converge on them.

It also tells the catalog what came of it: windows of live traffic, and a release whose version does not
load here. Decides nothing about promotion; the rollout driver does. While the catalog is away the server
goes on with what it has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.errors import (
    BundleError,
    ConflictError,
    LadingError,
    MemoryShort,
    RegistryUnavailable,
    VerificationError,
)
from lading.ref import Ref
from lading.release import EventDraft, Release
from lading.server.dataplane import DataPlane
from lading.server.manager import Manager, Wanted
from lading.server.objection import guarded
from lading.server.states import Served, State
from lading.server.traffic import Traffic
from lading.server.witness import Witness
from lading.settings import ServeSettings

if TYPE_CHECKING:
    from lading.registry import ModelVersion, Registry

log = logging.getLogger("lading.server")

_PERMANENT = (BundleError, VerificationError, MemoryShort)
"""What will not go away by trying again: such a release is refused. The rest is tried again."""


class Follower:
    """Keeps one process in step with the releases of a registry, in a thread."""

    def __init__(
        self,
        registry: Registry,
        manager: Manager,
        plane: DataPlane,
        witness: Witness,
        *,
        replica: str,
        keep: int = 0,
        interval_s: float = 0.5,
    ) -> None:
        self._registry = registry
        self._manager = manager
        self._plane = plane
        self._witness = witness
        self._replica = replica
        self._keep = keep
        self._interval_s = interval_s
        self._known: dict[tuple[str, int], ModelVersion] = {}
        self._seen: tuple[Release, ...] | None = None
        self._heard: int | None = None
        self._told: set[tuple[str, int, int]] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        self.away_since: float | None = None

    def start(self) -> None:
        """Read the releases once, so that what they want is loaded first of all, and begin to follow."""
        self._turn()
        self._thread.start()

    def stop(self) -> None:
        """Tell the catalog what is left to tell, and end."""
        self._stop.set()
        self._thread.join(5)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._turn()
            self._stop.wait(self._interval_s)
        self._witness.windows.cut(time.time(), last=True)
        self._turn()

    def _turn(self) -> None:
        """Read, converge and tell, once; a catalog that is away is no reason to stop."""
        try:
            releases = tuple(self._registry.wanted())
            self.converge(releases)
            self._tell_failures(releases)
            self._tell_windows()
            self._pass_feedback()
        except RegistryUnavailable as error:
            if self.away_since is None:
                self.away_since = self._plane.away_since = time.time()
                log.warning("the catalog is away; serving on with what is loaded: %s", error.message)
            return
        if self.away_since is not None:
            log.info("the catalog is back after %.0f s", time.time() - self.away_since)
            self.away_since = self._plane.away_since = None

    def converge(self, releases: Sequence[Release]) -> None:
        """Have the manager load what `releases` want, if that has changed since the last time."""
        if self._seen == tuple(releases):
            return
        wanted = [self._wanted(one.name, version) for one in releases for version in self._versions(one)]
        self._manager.want(wanted, {one.name: Traffic.of(one) for one in releases})
        self._seen = tuple(releases)

    def _versions(self, release: Release) -> list[int]:
        """List the versions to hold: live first, then the candidate, then as many of the former as asked."""
        versions = [one for one in (release.live, release.candidate) if one is not None]
        if self._keep:
            former: list[int] = []
            for one in self._registry.releases(release.name):
                for version in (one.live, one.replaces):
                    if version is not None and version not in (*versions, *former):
                        former.append(version)
            versions += former[: self._keep]
        return versions

    def _wanted(self, name: str, version: int) -> Wanted:
        known = self._known.get((name, version))
        if known is None:
            known = self._known[name, version] = self._registry.resolve(Ref(name, version=version))
        pinned = Ref(name, digest=known.digest)
        wanted = Wanted(name, version, known.digest, lambda: self._registry.fetch(pinned), known.tags)
        return guarded(wanted, self._registry.evidence)

    def _tell_windows(self) -> None:
        self._witness.windows.cut(time.time())
        windows = self._witness.windows.take()
        try:
            self._registry.add_windows(windows)
        except RegistryUnavailable:
            self._witness.windows.put_back(windows)
            raise

    def _pass_feedback(self) -> None:
        """Pass on the truth about answers of other processes, and take that about our own."""
        unclaimed = self._witness.unclaimed
        mine = [unclaimed.popleft() for _ in range(len(unclaimed))]
        try:
            self._registry.add_feedback(mine)
        except RegistryUnavailable:
            unclaimed.extendleft(reversed(mine))
            raise
        self._heard, others = self._registry.feedback(self._heard)
        for one in others:
            self._witness.claim(one.name, one.request_id.encode("latin-1"), one.truth)

    def _tell_failures(self, releases: Sequence[Release]) -> None:
        """Refuse a release whose version cannot be served here; and say once when a candidate is ready."""
        for release in releases:
            version = release.candidate if release.is_open else release.live
            served = self._served(release.name, version)
            if served is None or (release.name, release.number, served.version) in self._told:
                continue
            if served.state is State.READY:
                self._note_ready(release, served)
            elif served.state is State.FAILED and isinstance(served.failure, _PERMANENT):
                self._refuse(release, served, served.failure)

    def _served(self, name: str, version: int | None) -> Served | None:
        return next((one for one in self._plane.models.get(name, ()) if one.version == version), None)

    def _note_ready(self, release: Release, served: Served) -> None:
        self._told.add((release.name, release.number, served.version))
        reason = f"loaded and proved on {self._replica}"
        self._registry.note(
            release, EventDraft(kind="ready", actor=self._replica, reason=reason, version=served.version)
        )

    def _refuse(self, release: Release, served: Served, failure: LadingError) -> None:
        self._told.add((release.name, release.number, served.version))
        reason = f"{failure.message} (on {self._replica})"
        event = EventDraft(kind="refused", actor=self._replica, reason=reason, version=served.version)
        undone = release.is_open or release.replaces is not None
        try:
            if undone:
                self._registry.change(release, state="refused", reason=reason, event=event)
            else:
                self._registry.note(release, event)  # There is nothing to go back to.
        except ConflictError:
            log.info("release %d of %s was changed meanwhile", release.number, release.name)
        log.error("%s is refused: %s", served.label, failure.message)


class Following:
    """The follower of a serving process, with the registry that it reads."""

    def __init__(
        self,
        registry_url: str | None,
        manager: Manager,
        plane: DataPlane,
        settings: ServeSettings,
    ) -> None:
        from lading.registry import Registry

        assert plane.witness is not None
        self._registry = Registry.open(registry_url)
        replica = plane.witness.replica
        self._follower = Follower(
            self._registry, manager, plane, plane.witness, replica=replica, keep=settings.keep
        )
        self._follower.start()

    def stop(self) -> None:
        """Tell the catalog what is left to tell, and end."""
        self._follower.stop()
        self._registry.close()
