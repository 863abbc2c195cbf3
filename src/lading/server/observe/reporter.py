"""Reports to the catalog: windows of live traffic, feedback, and versions that became ready or failed.

Decides nothing about promotion; the rollout driver does. A release whose version cannot be served is refused
here, because no evidence about it will ever come.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lading.clock import unix_time
from lading.errors import (
    BundleError,
    ConflictError,
    LadingError,
    MemoryShort,
    RegistryUnavailable,
    RunTooLarge,
    VerificationError,
)
from lading.registry import Registry
from lading.release import EventDraft, Release
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion, State
from lading.server.observe.failure_log import FailureLog
from lading.server.observe.observer import Observer
from lading.traffic import Window

log = logging.getLogger("lading.server")

_PERMANENT = (BundleError, VerificationError, MemoryShort, RunTooLarge)
"""Errors that retrying does not cure: such a release is refused. The manager retries all others."""

_ESTABLISHED_S = 600.0
"""A version that was ready somewhere this long ago is no bad release: the fault is this server's. Ten minutes
are longer than a fleet takes to load a version, and what is wrong with a bundle shows on the first server."""


class Reporter:
    """Reports what one process has seen; each event and each window once."""

    def __init__(
        self, registry: Registry, plane: DataPlane, observer: Observer, failures: FailureLog
    ) -> None:
        self._registry = registry
        self._plane = plane
        self._observer = observer
        self._failures = failures
        self._feedback_cursor: int | None = None
        self._reported: set[tuple[str, int, int, State]] = set()

    def report_versions(self, releases: Sequence[Release]) -> None:
        """Refuse releases whose version cannot be served here, and note once that a version is ready.

        Raises `RegistryUnavailable`, as the other methods do.
        """
        for release in releases:
            served = self._served(release.name, release.candidate if release.is_open else release.live)
            live = self._served(release.name, release.live) if release.is_open else None
            with self._failures.guard(f"reporting on release {release.number} of {release.name}"):
                if served is not None and not self._is_reported(release, served):
                    if served.state is State.READY:
                        self._note_ready(release, served)
                    elif served.state is State.FAILED and isinstance(served.failure, _PERMANENT):
                        self._refuse(release, served, served.failure)
                # What is live beside a candidate was reported at its own release, and may have crashed since.
                if live is not None and live.taken_out and not self._is_reported(release, live):
                    self._note_refused(release, live, f"{live.reason} (on {self._observer.replica})")

    def report_traffic(self) -> None:
        """Deliver the finished windows, and exchange feedback with the other replicas."""
        with self._failures.guard("delivering windows"):
            self._deliver_windows()
        with self._failures.guard("exchanging feedback"):
            self._exchange_feedback()

    # Versions.

    def _served(self, name: str, number: int | None) -> ServedVersion | None:
        # The newest of that number: one that still drains may be present as well.
        versions = reversed(self._plane.models.get(name, ()))
        return next((served for served in versions if served.version == number), None)

    def _note_ready(self, release: Release, served: ServedVersion) -> None:
        replica = self._observer.replica
        reason = f"loaded and proved on {replica}"
        event = EventDraft(kind="ready", actor=replica, reason=reason, version=served.version)
        self._registry.releases.note(release, event)
        self._remember(release, served)

    def _refuse(self, release: Release, served: ServedVersion, failure: LadingError) -> None:
        reason = f"{failure.message} (on {self._observer.replica})"
        if not release.can_be_refused or self._is_established(release, served):
            self._note_refused(release, served, reason)
            return
        try:
            event = self._refused(served, reason)
            self._registry.releases.change(release, state="refused", reason=reason, event=event)
        except ConflictError:
            # Another process has changed the release: the next turn looks at it as it is then.
            log.info("release %d of %s was changed meanwhile", release.number, release.name)
        else:
            log.error("%s is refused: %s", served.label, failure.message, extra=served.about)
            self._remember(release, served)

    def _note_refused(self, release: Release, served: ServedVersion, reason: str) -> None:
        """Note that this server does not answer with a version that stays what is wanted."""
        self._registry.releases.note(release, self._refused(served, reason))
        log.error("%s does not hold on this server: %s", served.label, served.reason, extra=served.about)
        self._remember(release, served)

    def _refused(self, served: ServedVersion, reason: str) -> EventDraft:
        return EventDraft(kind="refused", actor=self._observer.replica, reason=reason, version=served.version)

    def _is_reported(self, release: Release, served: ServedVersion) -> bool:
        return (release.name, release.number, served.version, served.state) in self._reported

    def _remember(self, release: Release, served: ServedVersion) -> None:
        self._reported.add((release.name, release.number, served.version, served.state))

    def _is_established(self, release: Release, served: ServedVersion) -> bool:
        """Return whether a live version was ready somewhere long ago: one server does not undo it for all."""
        if release.is_open:
            return False
        # By the clock that has dated the events: one that is wrong here must not undo a release for all.
        before = self._registry.fleet.now() - _ESTABLISHED_S
        return any(
            event.kind == "ready"
            and (event.number, event.digest) == (release.number, served.digest)
            and unix_time(event.at) <= before
            for event in self._registry.releases.events(release.name)
        )

    # Traffic.

    def _deliver_windows(self) -> None:
        windows = self._observer.windows.drain()
        try:
            self._add_windows(windows)
        except RegistryUnavailable:
            # A window has an id: one that was delivered all the same still counts once.
            self._observer.windows.put_back(windows)
            raise

    def _add_windows(self, windows: Sequence[Window]) -> None:
        """Deliver windows together; if the catalog rejects one of them, deliver each by itself."""
        try:
            self._registry.traffic.add_windows(windows)
        except RegistryUnavailable:
            raise
        except Exception:
            if len(windows) < 2:
                raise
            for window in windows:
                with self._failures.guard(f"delivering a window of {window.name}:{window.version}"):
                    self._registry.traffic.add_windows([window])

    def _exchange_feedback(self) -> None:
        """Pass on feedback about answers of other processes, and match theirs with our answers."""
        unmatched = self._observer.unmatched
        ours = unmatched.take()
        try:
            taken = self._registry.traffic.add_feedback(ours)
        except RegistryUnavailable:
            unmatched.put_back(ours)
            raise
        if unmatched.has_room and taken < len(ours):
            log.warning("the catalog holds as much feedback as it may; some is refused until it has room")
        unmatched.has_room = taken == len(ours)
        self._feedback_cursor, theirs = self._registry.traffic.feedback(self._feedback_cursor)
        for feedback in theirs:
            request_id = feedback.request_id.encode("latin-1")
            self._observer.match_feedback(feedback.name, request_id, feedback.truth)
