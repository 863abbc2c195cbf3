"""What pages read of the catalog and the store by key; what was read is kept for when neither answers."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from lading.alarms import Alarm
from lading.bundle import PROFILE_FILE, SAMPLES_FILE, Manifest
from lading.bundle.profile_file import read_profile
from lading.bundle.samples import decode_samples
from lading.errors import BlobNotFound, BundleError, HistoryBroken, LadingError, NotFound, RegistryUnavailable
from lading.hub.views.alarms import ALARMS_A_PAGE
from lading.hub.views.history import EVENTS_A_PAGE, ChainCheck, HistoryState
from lading.hub.views.jobs import JOBS_A_PAGE
from lading.hub.views.models import EVENTS_SHOWN, VERSIONS_A_PAGE
from lading.hub.views.runs import RUNS_OF_MODEL, RUNS_READ, is_run_id
from lading.hub.views.versions import Contents, VersionRecord
from lading.jobs import Depth, JobRecord, State
from lading.monitor.snapshot import thinned_snapshot
from lading.monitor.status import ModelStatus
from lading.ref import Ref
from lading.registry import Registry
from lading.registry.catalog.monitoring import AlarmQuery
from lading.registry.catalog.runs import RunQuery
from lading.registry.records import EventPage, ModelVersion
from lading.release import Event, Release
from lading.release.history_check import check_history, how_forgeable
from lading.rollout.by_hand import target_of
from lading.rollout.driver import LEASE
from lading.rollout.evidence import WindowReader, assess_with_paths
from lading.rollout.snapshot import Snapshot, snapshot
from lading.runs import Run
from lading.units import size
from lading.verdict import GatePath

Value = TypeVar("Value")

_KEPT = 512
"""How many answers of the catalog, and manifests, are kept: those that were looked at last."""

_MOST_COUNTS = 800_000
"""Of so many counts windows are read for a page: a day of a server with sixteen columns, in 0.1 s."""

_FRESH_S = 15.0
"""So long a status is as good as new: windows come every half minute."""

_STATUSES_KEPT = 32
"""How many statuses are kept: one of a thousand columns takes some megabytes."""


MOST_FILE_BYTES = 4 * 2**20
"""A profile or golden samples beyond it are not read for a page: they would be of images."""

_BUNDLES_KEPT = 8
"""Of so many bundles the files are kept, 64 MB at most."""

_MOST_TRIES = 3
"""How often a history is read again because it has changed meanwhile."""


class Answer(msgspec.Struct, Generic[Value], frozen=True):
    """What was read, and the Unix time at which that was; ``failure`` is why it is not newer, or empty."""

    value: Value
    read_at: float
    failure: str = ""


class Reader:
    """Reads for pages. Its methods raise `RegistryUnavailable` only for what was never read before."""

    def __init__(
        self,
        registry: Registry,
        clock: Callable[[], float] = time.time,
        failure: Callable[[], str] = str,
    ) -> None:
        """`failure` returns why the catalog is known not to answer, or nothing: it is not asked then."""
        self._registry = registry
        self._failure = failure
        self._clock = clock
        self._kept: OrderedDict[Any, Answer[Any]] = OrderedDict()
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        self._bundle_files: OrderedDict[str, tuple[dict[str, bytes], str]] = OrderedDict()
        # Two: what is kept is looked up at once, even while a long reading goes on.
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._reading_status = threading.Lock()
        self._windows = WindowReader(registry)
        # Apart from the other answers: one of these is as large as a thousand of those.
        self._statuses: OrderedDict[Any, Answer[ModelStatus]] = OrderedDict()

    def model(
        self, name: str, below: int | None
    ) -> Answer[tuple[list[ModelVersion], list[Event], list[Run]]]:
        """Return versions, highest first and one more than a page has, and the last events and runs.

        Raises `ModelNotFound`.
        """

        def read() -> tuple[list[ModelVersion], list[Event], list[Run]]:
            versions = self._registry.versions.page(name, below=below, limit=VERSIONS_A_PAGE + 1)
            runs = self._registry.runs.page(RunQuery(name=name), RUNS_OF_MODEL + 1)
            return versions, self._registry.releases.last_events(name, EVENTS_SHOWN), runs

        return self._read(("model", name, below), read)

    def version(self, name: str, number: int) -> Answer[VersionRecord]:
        """Return a version with the last evidence on each runtime, and the releases of its model.

        Raises `VersionNotFound`.
        """

        def read() -> VersionRecord:
            version = self._registry.versions.resolve(Ref(name, version=number))
            return VersionRecord(
                version=version,
                evidence=self._registry.evidence(version.digest),
                releases=self._registry.releases(name),
            )

        return self._read(("version", name, number), read)

    def parent(self, name: str, digest: str) -> ModelVersion | None:
        """Return the version of a model that has a digest, or None if none is known here."""

        def read() -> ModelVersion | None:
            return self._registry.catalog.versions.find(Ref(name, digest=digest))

        try:
            return self._read(("digest", name, digest), read).value
        except RegistryUnavailable:
            # The page has said so already, and the digest is on it all the same.
            return None

    def release(self, name: str, servers: int) -> Answer[tuple[Snapshot, tuple[GatePath, ...]]]:
        """Return the current release of a model in numbers, and the paths of its evidence in this step.

        `servers` is how many follow it.

        Raises `ModelNotFound`, and `NotFound` for a model that was never released.
        """

        def read() -> tuple[Snapshot, tuple[GatePath, ...]]:
            release = self._registry.releases.current(name)
            if release is None:
                raise self._no_release(name)
            now = self._registry.fleet.now()
            windows, verdict = [], None
            paths: tuple[GatePath, ...] = ()
            if release.is_open:
                with self._reading:  # What it knows of a release grows with each reading.
                    windows = self._windows.windows(release)
                verdict, paths = assess_with_paths(release, windows, now)
            driver = self._registry.fleet.lease_holder(LEASE)
            taken = snapshot(release, windows, now, verdict, driver=driver, servers=servers)
            return taken, paths

        return self._read(("release", name), read)

    def steering(self, name: str) -> Answer[tuple[Release, list[Event]]]:
        """Return the current release of a model, and its last events. Raises what `release` raises."""
        answer = self.last(name)
        release, events = answer.value
        if release is None:
            raise self._no_release(name)
        return Answer((release, events), answer.read_at, answer.failure)

    def last(self, name: str) -> Answer[tuple[Release | None, list[Event]]]:
        """Return the current release of a model, or None, and its last events, newest first."""

        def read() -> tuple[Release | None, list[Event]]:
            # Events first: a form that names the last of them names none that its release does not show.
            events = self._registry.releases.last_events(name, EVENTS_SHOWN)
            return self._registry.releases.current(name), events

        return self._read(("last", name), read)

    def rollback_target(self, release: Release) -> tuple[int | None, str]:
        """Return the version that a rollback of a release goes to, or None and why there is none."""
        try:
            return target_of(self._registry, release.name, release.number), ""
        except LadingError as error:
            return None, str(error.message)

    def _no_release(self, name: str) -> NotFound:
        """Return the error that a model was never released. Raises `ModelNotFound` if it does not exist."""
        self._registry.versions.page(name, limit=1)
        hint = f"`lading release {name}:1` releases version 1"
        return NotFound(f"releases of `{name}`", expected="at least one", found="none", hint=hint)

    def events(self, state: HistoryState) -> Answer[EventPage]:
        """Return a page of events."""

        def read() -> EventPage:
            return self._registry.releases.event_page(
                state.model or None,
                kind=state.kind,
                actor=state.actor,
                below=state.below,
                limit=EVENTS_A_PAGE,
            )

        return self._read(("events", state), read)

    def check(self, name: str) -> Answer[ChainCheck]:
        """Return whether all events of a model are as they were written. Raises `ModelNotFound`."""

        def read() -> ChainCheck:
            releases, events = self._of_one_moment(name)
            # A chain that verifies proves more with a key than without, so the page says which it is.
            keyring = self._registry.releases.keyring
            forgeable = how_forgeable(keyring)
            try:
                check_history(name, events, releases, keyring)
            except HistoryBroken as error:
                return ChainCheck(
                    events=len(events), forgeable=forgeable, broken=error.message, hint=error.hint or ""
                )
            return ChainCheck(events=len(events), forgeable=forgeable)

        return self._read(("check", name), read)

    def _of_one_moment(self, name: str) -> tuple[list[Release], list[Event]]:
        """Return the releases and all events of a model, between which nothing has changed."""
        # A release between the two readings would contradict a history that does not have it yet.
        releases = self._registry.releases(name)
        for _ in range(_MOST_TRIES):
            events, again = self._registry.releases.events(name), self._registry.releases(name)
            if again == releases:
                break
            releases = again
        return releases, events

    def chain(self, name: str) -> list[Event]:
        """Return all events of a model, oldest first. Raises `ModelNotFound`, and keeps nothing."""
        # It knows whether the model exists; one that was never released has no events.
        self._registry.releases(name)
        return self._registry.releases.events(name)

    def monitoring(self, name: str, period_s: float, owner: str) -> Answer[ModelStatus]:
        """Return what is known of a model's live traffic over a period up to now.

        It is kept for some seconds: many may look at once, and the next page of columns is of the same.
        Raises `ModelNotFound`.
        """
        key = ("monitoring", name, period_s)

        def read() -> ModelStatus:
            # The follower knows no version of it: it may be no model.
            if not owner:
                self._registry.versions.page(name, limit=1)
            until = self._clock()
            return thinned_snapshot(
                self._registry, name, until - period_s, until, most_counts=_MOST_COUNTS, owner=owner
            )

        # One at a time: of many who look at once, one reads, and the others get what it read.
        with self._reading_status:
            with self._lock:
                known: Answer[ModelStatus] | None = self._statuses.get(key)
            if known is not None and self._clock() - known.read_at < _FRESH_S:
                return known
            return self._read(key, read, self._statuses, _STATUSES_KEPT)

    def alarms(self, asked: AlarmQuery) -> Answer[tuple[list[Alarm], dict[str, str]]]:
        """Return alarms, last raised first and one more than a page has, and the states of alerts."""

        def read() -> tuple[list[Alarm], dict[str, str]]:
            monitoring = self._registry.monitoring
            return monitoring.alarm_page(asked, ALARMS_A_PAGE + 1), monitoring.states("alerts")

        return self._read(("alarms", asked), read)

    def runs(self, asked: RunQuery) -> Answer[list[Run]]:
        """Return runs over data sets, last begun first and one more than a page sorts."""
        return self._read(("runs", asked), lambda: self._registry.runs.page(asked, RUNS_READ + 1))

    def run(self, run_id: str) -> Answer[Run]:
        """Return a run. Raises `NotFound`."""

        def read() -> Run:
            # No database is asked for a text that is no id.
            run = self._registry.runs.find(run_id) if is_run_id(run_id) else None
            if run is None:
                hint = "runs are kept for 400 days; /runs has all"
                raise NotFound(
                    f"run `{run_id[:80]}`", expected="a run of the registry", found="none", hint=hint
                )
            return run

        return self._read(("run", run_id), read)

    def jobs(
        self, name: str | None, state: State | None, before: int | None
    ) -> Answer[tuple[list[JobRecord], list[Depth]]]:
        """Return jobs, newest first and one more than a page has, and how many of each model are open."""

        def read() -> tuple[list[JobRecord], list[Depth]]:
            rows = self._registry.jobs
            return rows.find(name, state=state, before=before, limit=JOBS_A_PAGE + 1), rows.depths()

        return self._read(("jobs", name, state, before), read)

    def job(self, job_id: str) -> Answer[JobRecord]:
        """Return a job. Raises `JobNotFound`."""
        return self._read(("job", job_id), lambda: self._registry.jobs.get(job_id))

    def manifest(self, version: ModelVersion) -> tuple[Manifest | None, str]:
        """Return the manifest of a version, or None and why it cannot be read."""
        # It never changes, because its digest is its name.
        with self._lock:
            known = self._manifests.get(version.digest)
        if known is not None:
            return known, ""
        try:
            manifest = self._registry.manifest(version)
        except (BlobNotFound, BundleError, RegistryUnavailable) as error:
            return None, str(error.message)
        with self._lock:
            self._keep(self._manifests, version.digest, manifest)
        return manifest, ""

    def contents(self, version: ModelVersion) -> Contents:
        """Return what a page says of a bundle: its manifest, its profile and its golden samples.

        Of these files no more than `MOST_FILE_BYTES` each; the model itself is never read.
        """
        manifest, unread = self.manifest(version)
        if manifest is None:
            return Contents(manifest=None, unread=unread)
        # Decoded for each page: bytes are a bound for the memory that they take, arrays of texts are none.
        files, unread_files = self._files(version, manifest)
        try:
            profile = samples = None
            if PROFILE_FILE in files:
                profile = read_profile(files[PROFILE_FILE], manifest.signature)
            if SAMPLES_FILE in files:
                samples = decode_samples(manifest.signature, files[SAMPLES_FILE])
        except BundleError as error:
            return Contents(manifest=manifest, unread_files=error.message)
        return Contents(manifest=manifest, profile=profile, samples=samples, unread_files=unread_files)

    def _files(self, version: ModelVersion, manifest: Manifest) -> tuple[dict[str, bytes], str]:
        """Return the bytes of profile and samples, of those that are small, and why one is missing."""
        with self._lock:
            known = self._bundle_files.get(version.digest)
        if known is not None:
            return known
        wanted = [name for name in (PROFILE_FILE, SAMPLES_FILE) if name in manifest.files]
        large = [name for name in wanted if manifest.files[name].size > MOST_FILE_BYTES]
        unread = ""
        if large:
            sizes = ", ".join(f"`{name}` {size(manifest.files[name].size)}" for name in large)
            unread = f"more than a page reads, {size(MOST_FILE_BYTES)}: {sizes}"
        try:
            files = self._registry.files(version, manifest, set(wanted) - set(large))
        except (BlobNotFound, BundleError, RegistryUnavailable) as error:
            return {}, error.message  # Not kept: the store may answer the next time.
        with self._lock:
            self._keep(self._bundle_files, version.digest, (files, unread), _BUNDLES_KEPT)
        return files, unread

    def _read(
        self,
        key: Any,
        read: Callable[[], Value],
        kept: OrderedDict[Any, Answer[Any]] | None = None,
        most: int = _KEPT,
    ) -> Answer[Value]:
        kept = self._kept if kept is None else kept
        read_at = self._clock()
        try:
            # A lock of the catalog may last half a minute, and a page waits no longer than a person.
            if failure := self._failure():
                raise RegistryUnavailable("the registry", expected="an answer", found=failure)
            answer = Answer(read(), read_at)
        except RegistryUnavailable as error:
            # An old answer that says how old it is helps more than none.
            with self._lock:
                known: Answer[Value] | None = kept.get(key)
            if known is None:
                raise
            return msgspec.structs.replace(known, failure=str(error.message))
        # Read outside of the lock: two may read the same, and the later answer stays.
        with self._lock:
            self._keep(kept, key, answer, most)
        return answer

    @staticmethod
    def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any, most: int = _KEPT) -> None:
        kept[key] = value
        kept.move_to_end(key)
        # The first is the one that was looked at longest ago.
        while len(kept) > most:
            kept.popitem(last=False)
