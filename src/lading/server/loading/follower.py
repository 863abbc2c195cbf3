"""Follow mode: reads the releases of a registry, and has the manager converge on the versions that they want.

Decides nothing about promotion; the rollout driver does. While the catalog is unreachable the server goes on
with the versions that it has. In each turn the `Reporter` reports back to the catalog.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from lading.clock import SteadyClock
from lading.errors import CatalogTooNew, NotFound, RegistryUnavailable
from lading.ref import Ref
from lading.registry import ModelVersion, Registry
from lading.release import Release
from lading.release.from_history import contradiction, live_versions, trusted
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.readiness import CATALOG_UNREACHABLE
from lading.server.inference.traffic import Traffic
from lading.server.inference.version import ServedVersion
from lading.server.loading.admission import with_admission
from lading.server.loading.manager import Manager
from lading.server.loading.policy import Wanted
from lading.server.observe.failure_log import FailureLog
from lading.server.observe.observer import Observer
from lading.server.observe.reporter import Reporter

log = logging.getLogger("lading.server")

NOTHING_RELEASED = (
    "nothing is released yet: `lading release NAME:1` makes a version live, or name references: "
    "`lading serve NAME`"
)

_STOP_TIMEOUT_S = 5.0
# A clock that is corrected evenly, as by NTP, is not set.
_CLOCK_SET_S = 1.0


class Follower:
    """Keeps one process in step with the releases of a registry, in a thread.

    It keeps `keep` former versions of each model loaded. The releases are read every `interval_s`, the tags
    of the loaded versions every `tags_interval_s`: each costs the catalog a query for each version, and tags
    seldom move.

    In each turn it reads and reports once; ``turns`` counts those that have begun.
    """

    def __init__(  # noqa: PLR0913 - one keyword per interval, and the clock
        self,
        registry: Registry,
        manager: Manager,
        plane: DataPlane,
        observer: Observer,
        *,
        keep: int = 0,
        interval_s: float = 0.5,
        tags_interval_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._manager = manager
        self._plane = plane
        self._readiness = plane.readiness
        self._windows = observer.windows
        self._keep = keep
        self._interval_s = interval_s
        self._tags_interval_s = tags_interval_s
        self._clock = SteadyClock(clock, time.monotonic)
        self._failures = FailureLog()
        self._reporter = Reporter(registry, plane, observer, self._failures)
        self._releases: tuple[Release, ...] | None = None
        # The row last read of each model, and what is served of it.
        self._checked: dict[str, tuple[Release, Release]] = {}
        self._tags_due_at = 0.0
        self.turns = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)

    def start(self) -> None:
        """Read the releases once, so that the manager begins with what they want, and begin to follow.

        If the catalog is unreachable, the releases last known on this machine stand in. Raises
        `CatalogTooNew`.
        """
        self._plane.releases = ()
        if self._registry.read_only:
            log.warning(
                "registry `%s` is read-only: this server follows its releases and reports nothing, so the "
                "verdict on a candidate does not count what is answered here",
                self._registry.where,
            )
        outage = self._turn()
        if isinstance(outage, CatalogTooNew):
            raise outage
        if outage is not None:
            self._readiness.not_ready_reason = CATALOG_UNREACHABLE
            with self._failures.guard("using the releases last known"):
                self._use_last_known()
        self._thread.start()

    def stop(self) -> None:
        """Report what is left to report, and end."""
        self._stop.set()
        self._thread.join(_STOP_TIMEOUT_S)

    def converge(self, releases: Sequence[Release]) -> None:
        """Have the manager load what `releases` want, unless they are the same as the last time."""
        if self._releases == tuple(releases):
            # What is stored counts from the last answer of the catalog, not from the last change.
            self._registry.last_known.confirm()
            return
        versions = [version for release in releases for version in self._versions_of(release)]
        self._want(releases, versions)
        # For a start while the catalog is unreachable.
        self._registry.last_known.keep_wanted(releases, versions)
        # Set last: if anything above fails, the next turn does all of it again.
        self._releases = tuple(releases)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._turn()
            self._stop.wait(self._interval_s)
        # The server has drained: the last answers are counted now, and the last turn delivers them.
        self._windows.rotate(self._clock(), last=True)
        self._turn()

    def _turn(self) -> RegistryUnavailable | None:
        """Read, converge and report once, whatever fails; return the error if the catalog is unreachable."""
        # First, because what is counted must not grow in memory while the catalog is unreachable.
        with self._failures.guard("counting answers"):
            self._windows.rotate(self._clock())
            self._follow_clock()
        self.turns += 1
        self._readiness.catalog_asked_since = time.monotonic()
        try:
            with self._failures.guard("following the releases"):
                releases = tuple(map(self._held_against_history, self._registry.releases.wanted()))
                self._plane.releases = releases
                self._readiness.catalog_answered_at = time.time()
                self.converge(releases)
                if not self._registry.read_only:
                    self._reporter.report_versions(releases)
            with self._failures.guard("following the tags"):
                self._follow_tags()
            if not self._registry.read_only:
                self._reporter.report_traffic()
        except RegistryUnavailable as error:
            self._begin_outage(error)
            return error
        finally:
            self._readiness.catalog_asked_since = None
        self._end_outage()
        self._check_whether_released()
        return None

    def _follow_clock(self) -> None:
        """Date windows by the clock of this host once it was set; none gets longer or shorter for it."""
        jump_s = self._clock.jump_s()
        if abs(jump_s) > _CLOCK_SET_S:
            log.warning("the clock of this host was set by %+.0f s", jump_s)
            self._clock.forget()
            self._windows.begin_at(self._clock())

    def _held_against_history(self, release: Release) -> Release:
        """Return `release`, or what its history says instead if its row contradicts it.

        A row can be rewritten by anybody who can write to the database; the events of a model are a chain.
        They are read only when the row has changed.
        """
        known = self._checked.get(release.name)
        if known is not None and known[0] == release:
            return known[1]
        events = self._registry.releases.events(release.name)
        keyring = self._registry.releases.keyring
        wrong, result = contradiction(release, events, keyring), release
        if wrong is not None:
            result = msgspec.structs.replace(
                release, live=live_versions(trusted(events, keyring))[0], candidate=None, weight_percent=0.0
            )
            log.error(
                "release %d of %s is not what lading wrote: %s; serving what the history says",
                release.number,
                release.name,
                wrong,
            )
        self._checked[release.name] = (release, result)
        return result

    def _begin_outage(self, error: RegistryUnavailable) -> None:
        if self._readiness.catalog_unreachable_since is None:
            self._readiness.catalog_unreachable_since = time.monotonic()
            log.warning("catalog unreachable; still serving what is loaded: %s", error)

    def _end_outage(self) -> None:
        if self._readiness.catalog_unreachable_since is not None:
            outage_s = time.monotonic() - self._readiness.catalog_unreachable_since
            log.info("catalog reachable again after %.0f s", outage_s)
            self._readiness.catalog_unreachable_since = None

    def _check_whether_released(self) -> None:
        """State, and log once, that this server has nothing to serve yet."""
        reason = NOTHING_RELEASED if self._releases == () else ""
        if reason and self._readiness.not_ready_reason != reason:
            log.warning("%s", reason)
        self._readiness.not_ready_reason = reason

    def _use_last_known(self) -> None:
        """Have the manager load what the releases wanted when the catalog last answered, if that is known."""
        known = self._registry.last_known.wanted()
        if known is None:
            return
        models = ", ".join(f"{version.name}:{version.version}" for version in known.versions)
        log.warning("serving the releases last known until the catalog is reachable: %s", models or "nothing")
        self._plane.releases = tuple(known.releases)
        self._want(known.releases, known.versions)

    def _want(self, releases: Sequence[Release], versions: Sequence[ModelVersion]) -> None:
        traffic = {release.name: Traffic.of(release) for release in releases}
        self._manager.want([self._wanted(version) for version in versions], traffic)

    def _wanted(self, version: ModelVersion) -> Wanted:
        wanted = Wanted(
            version.name,
            version.version,
            version.digest,
            lambda: self._registry.fetch(version),
            version.tags,
            attested=lambda: self._registry.admission.attested(version.digest),
        )
        return with_admission(wanted, self._registry)

    def _versions_of(self, release: Release) -> list[ModelVersion]:
        """List the versions to hold: live, then the candidate, then as many former ones as `keep` says."""
        numbers = [number for number in (release.live, release.candidate) if number is not None]
        versions = [self._registry.resolve(Ref(release.name, version=number)) for number in numbers]
        if self._keep:
            history = self._registry.releases(release.name)
            # `replaces` is what was live when a release was made: both were live at some time.
            former = [number for past in history for number in (past.live, past.replaces)]
            versions += self._former(
                release.name, [number for number in former if number is not None and number not in numbers]
            )
        return versions

    def _former(self, name: str, numbers: Sequence[int]) -> list[ModelVersion]:
        """Choose the versions to keep from those that a model had, newest first."""
        former: list[ModelVersion] = []
        for number in dict.fromkeys(numbers):
            if len(former) == self._keep:
                break
            with suppress(NotFound):  # A former version may have been removed since.
                former.append(self._registry.resolve(Ref(name, version=number)))
        return former

    def _follow_tags(self) -> None:
        """Look up the tags of the versions here when that is due: anyone may move a free tag at any time."""
        if time.monotonic() < self._tags_due_at:
            return
        tags_now: list[tuple[ServedVersion, tuple[str, ...]]] = []
        for versions in self._plane.models.values():
            for served in versions:
                with suppress(NotFound):
                    version = self._registry.resolve(Ref(served.name, version=served.version))
                    tags_now.append((served, version.tags))
        # Added everywhere first and removed then: a tag that moves is at both versions for a moment, never at
        # none.
        for served, tags in tags_now:
            served.tags = (*served.tags, *tags)
        for served, tags in tags_now:
            served.tags = tags
        self._tags_due_at = time.monotonic() + self._tags_interval_s


@contextmanager
def following(
    registry_url: str | None, manager: Manager, plane: DataPlane, observer: Observer, *, keep: int
) -> Iterator[None]:
    """Follow the releases of a registry until the block ends, keeping `keep` former versions of each model.

    Raises `CatalogTooNew`.
    """
    # A database that is unreachable is waited for.
    with Registry.open(registry_url, at_once=False) as registry:
        follower = Follower(registry, manager, plane, observer, keep=keep)
        follower.start()
        try:
            yield
        finally:
            follower.stop()
