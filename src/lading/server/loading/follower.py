"""Follow mode: reads the releases that are wanted, and has the manager converge on them.

It also tells the catalog what came of it: windows of live traffic, and a release whose version does not
load here. Decides nothing about promotion; the rollout driver does. While the catalog is away the server
goes on with what it has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lading.clock import unix_time
from lading.errors import (
    BundleError,
    CatalogTooNew,
    ConflictError,
    LadingError,
    MemoryShort,
    NotFound,
    RegistryUnavailable,
    VerificationError,
)
from lading.ref import Ref
from lading.release import EventDraft, Release
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import CATALOG_UNREACHABLE
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion, State
from lading.server.loading.admission import guarded
from lading.server.loading.manager import Manager, Wanted
from lading.server.observe.observer import Observer

if TYPE_CHECKING:
    from lading.registry import ModelVersion, Registry
    from lading.traffic import Window

log = logging.getLogger("lading.server")

_PERMANENT = (BundleError, VerificationError, MemoryShort)
"""What will not go away by trying again: such a release is refused. The rest is tried again."""

_SETTLED_S = 600.0
"""A version that was ready somewhere so long ago is no bad release: what fails is this server. Ten minutes
are longer than a fleet takes to load a version, and what is wrong with a bundle shows on the first server."""

_TAGS_S = 10.0
"""How often free tags are looked up: each version here costs the catalog a query, and tags seldom move."""

NOTHING_RELEASED = (
    "nothing is released yet: `lading release NAME:1` makes a version live, or name references: "
    "`lading serve NAME`"
)


class Follower:
    """Keeps one process in step with the releases of a registry, in a thread."""

    def __init__(
        self,
        registry: Registry,
        manager: Manager,
        plane: DataPlane,
        observer: Observer,
        *,
        replica: str,
        keep: int = 0,
        interval_s: float = 0.5,
    ) -> None:
        self._registry = registry
        self._manager = manager
        self._plane = plane
        self._readiness = plane.readiness
        self._observer = observer
        self._replica = replica
        self._keep = keep
        self._interval_s = interval_s
        self._seen: tuple[Release, ...] | None = None
        self._heard: int | None = None
        self._told: set[tuple[str, int, int]] = set()
        self._failing: dict[str, str] = {}
        self._tags_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)

    def start(self) -> None:
        """Read the releases once, so that what they want is loaded first of all, and begin to follow.

        Where the catalog is away it is what was wanted a short while ago. Raises `CatalogTooNew`.
        """
        outage = self._turn()
        if isinstance(outage, CatalogTooNew):
            raise outage
        if outage is not None:
            self._readiness.not_ready_reason = CATALOG_UNREACHABLE
            with self._at_edge("recalling what was wanted"):
                self._recall()
        self._thread.start()

    def stop(self) -> None:
        """Tell the catalog what is left to tell, and end."""
        self._stop.set()
        self._thread.join(5)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._turn()
            self._stop.wait(self._interval_s)
        self._observer.windows.rotate(time.time(), last=True)
        self._turn()

    def _turn(self) -> RegistryUnavailable | None:
        """Read, converge and tell, once; nothing that fails ends it. Gives the outage of the catalog."""
        # First of all: what is counted must not grow for as long as the catalog is away.
        with self._at_edge("counting what was answered"):
            self._observer.windows.rotate(time.time())
        try:
            with self._at_edge("following the releases"):
                releases = tuple(self._registry.releases.wanted())
                self.converge(releases)
                self._tell_failures(releases)
            with self._at_edge("following the tags"):
                self._follow_tags()
            with self._at_edge("telling what was answered"):
                self._tell_windows()
            with self._at_edge("passing feedback on"):
                self._pass_feedback()
        except RegistryUnavailable as error:
            if self._readiness.catalog_unreachable_since is None:
                self._readiness.catalog_unreachable_since = time.time()
                log.warning("catalog unreachable; still serving what is loaded: %s", error)
            return error
        if self._readiness.catalog_unreachable_since is not None:
            outage_s = time.time() - self._readiness.catalog_unreachable_since
            log.info("catalog reachable again after %.0f s", outage_s)
            self._readiness.catalog_unreachable_since = None
        self._say_whether_released()
        return None

    @contextmanager
    def _at_edge(self, what: str) -> Iterator[None]:
        """Log whatever nobody foresaw, once for as long as it stays the same; the next turn tries again.

        The edge of a thread: without it this server would follow nothing any more, and nobody would say so.
        """
        try:
            yield
        except RegistryUnavailable:
            raise
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            if self._failing.get(what) != failure:
                self._failing[what] = failure
                log.exception("%s failed; the next turn tries again", what)
        else:
            self._failing.pop(what, None)

    def converge(self, releases: Sequence[Release]) -> None:
        """Have the manager load what `releases` want, if that has changed since the last time."""
        if self._seen == tuple(releases):
            self._registry.last_known.heard()
            return
        versions = [one for release in releases for one in self._versions_of(release)]
        self._want(releases, versions)
        self._registry.last_known.keep_followed(releases, versions)
        self._seen = tuple(releases)

    def _say_whether_released(self) -> None:
        """Say, once for as long as it is so, that this server has nothing to serve yet."""
        reason = NOTHING_RELEASED if self._seen == () else ""
        if reason and self._readiness.not_ready_reason != reason:
            log.warning("%s", reason)
        self._readiness.not_ready_reason = reason

    def _recall(self) -> None:
        """Have the manager load what was wanted when the catalog was last heard of, if that is known."""
        known = self._registry.last_known.followed()
        if known is None:
            return
        models = ", ".join(f"{one.name}:{one.version}" for one in known.versions)
        log.warning("serving the releases last known until the catalog is reachable: %s", models or "nothing")
        self._want(known.releases, known.versions)

    def _want(self, releases: Sequence[Release], versions: Sequence[ModelVersion]) -> None:
        wanted = [self._wanted(one) for one in versions]
        self._manager.want(wanted, {one.name: Traffic.of(one) for one in releases})

    def _versions_of(self, release: Release) -> list[ModelVersion]:
        """List what to hold: live first, then the candidate, then as many of the former as asked."""
        numbers = [one for one in (release.live, release.candidate) if one is not None]
        versions = [self._registry.resolve(Ref(release.name, version=number)) for number in numbers]
        if self._keep:
            history = self._registry.releases(release.name)
            named = [number for one in history for number in (one.live, one.replaces)]
            versions += self._former(release.name, [one for one in named if one not in (None, *numbers)])
        return versions

    def _former(self, name: str, numbers: Sequence[int | None]) -> list[ModelVersion]:
        """Choose the versions to keep of those that a model had, newest first; some may be removed by now."""
        former: list[ModelVersion] = []
        for number in dict.fromkeys(numbers):
            if number is None or len(former) == self._keep:
                continue
            with suppress(NotFound):
                former.append(self._registry.resolve(Ref(name, version=number)))
        return former

    def _wanted(self, known: ModelVersion) -> Wanted:
        wanted = Wanted(
            known.name, known.version, known.digest, lambda: self._registry.fetch(known), known.tags
        )
        return guarded(wanted, self._registry.evidence)

    def _follow_tags(self) -> None:
        """Look up now and then which tags the versions here have: anybody may move a free one at any time."""
        if time.monotonic() < self._tags_at:
            return
        found: list[tuple[ServedVersion, tuple[str, ...]]] = []
        for served in (one for versions in self._plane.models.values() for one in versions):
            with suppress(NotFound):
                known = self._registry.resolve(Ref(served.name, version=served.version))
                found.append((served, known.tags))
        # A tag that is moved is at both versions for a moment, and never at none.
        for served, tags in found:
            served.tags = (*served.tags, *tags)
        for served, tags in found:
            served.tags = tags
        self._tags_at = time.monotonic() + _TAGS_S

    def _tell_windows(self) -> None:
        windows = self._observer.windows.drain()
        try:
            self._add_windows(windows)
        except RegistryUnavailable:
            # One that was delivered counts once all the same.
            self._observer.windows.put_back(windows)
            raise

    def _add_windows(self, windows: Sequence[Window]) -> None:
        """Deliver windows together; where the catalog does not take one of them, each by itself."""
        try:
            self._registry.traffic.add_windows(windows)
        except RegistryUnavailable:
            raise
        except Exception:
            if len(windows) < 2:
                raise
            for window in windows:
                with self._at_edge(f"telling what {window.name}:{window.version} answered"):
                    self._registry.traffic.add_windows([window])

    def _pass_feedback(self) -> None:
        """Pass on the truth about answers of other processes, and take that about our own."""
        unclaimed = self._observer.unmatched
        mine = [unclaimed.popleft() for _ in range(len(unclaimed))]
        try:
            self._registry.traffic.add_feedback(mine)
        except RegistryUnavailable:
            unclaimed.extendleft(reversed(mine))
            raise
        self._heard, others = self._registry.traffic.feedback(self._heard)
        for one in others:
            self._observer.match_feedback(one.name, one.request_id.encode("latin-1"), one.truth)

    def _tell_failures(self, releases: Sequence[Release]) -> None:
        """Refuse a release whose version cannot be served here; and say once when a candidate is ready."""
        for release in releases:
            version = release.candidate if release.is_open else release.live
            served = self._served(release.name, version)
            if served is None or (release.name, release.number, served.version) in self._told:
                continue
            with self._at_edge(f"telling how release {release.number} of {release.name} fares"):
                if served.state is State.READY:
                    self._note_ready(release, served)
                elif served.state is State.FAILED and isinstance(served.failure, _PERMANENT):
                    self._refuse(release, served, served.failure)

    def _served(self, name: str, version: int | None) -> ServedVersion | None:
        # The newest of that number: one that still drains may be there beside it.
        versions = reversed(self._plane.models.get(name, ()))
        return next((one for one in versions if one.version == version), None)

    def _note_ready(self, release: Release, served: ServedVersion) -> None:
        reason = f"loaded and proved on {self._replica}"
        self._registry.releases.note(
            release, EventDraft(kind="ready", actor=self._replica, reason=reason, version=served.version)
        )
        self._told.add((release.name, release.number, served.version))

    def _refuse(self, release: Release, served: ServedVersion, failure: LadingError) -> None:
        reason = f"{failure.message} (on {self._replica})"
        event = EventDraft(kind="refused", actor=self._replica, reason=reason, version=served.version)
        try:
            if release.can_be_refused and not self._settled(release, served):
                self._registry.releases.change(release, state="refused", reason=reason, event=event)
                log.error("%s is refused: %s", served.label, failure.message)
            else:
                self._registry.releases.note(release, event)
                log.error("%s does not hold on this server: %s", served.label, failure.message)
        except ConflictError:
            # It is as it was changed to now, and the next turn looks at that.
            log.info("release %d of %s was changed meanwhile", release.number, release.name)
        else:
            self._told.add((release.name, release.number, served.version))

    def _settled(self, release: Release, served: ServedVersion) -> bool:
        """Return whether a live version was ready somewhere long ago: one server does not undo it for all."""
        if release.is_open:
            return False
        before = time.time() - _SETTLED_S
        return any(
            event.kind == "ready"
            and (event.number, event.digest) == (release.number, served.digest)
            and unix_time(event.at) <= before
            for event in self._registry.releases.events(release.name)
        )


@contextmanager
def following(
    registry_url: str | None, manager: Manager, plane: DataPlane, observer: Observer, *, keep: int
) -> Iterator[None]:
    """Follow the releases of a registry until the block ends, keeping `keep` former versions of each model.

    Raises `CatalogTooNew`.
    """
    from lading.registry import Registry

    # A database that cannot be reached is waited for.
    with Registry.open(registry_url, at_once=False) as registry:
        follower = Follower(registry, manager, plane, observer, replica=observer.replica, keep=keep)
        follower.start()
        try:
            yield
        finally:
            follower.stop()
