"""The contract of catalogs: rows about versions, releases and what runs, in SQLite or in PostgreSQL.

Holds the contract alone. ``sql`` implements it over either database; its parts are the modules of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from lading.release import EventDraft, Release

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.ref import Ref
    from lading.registry.records import ModelVersion, NewVersion, Removed
    from lading.release import Event
    from lading.replica import Replica
    from lading.traffic import Feedback, Window

Written = Sequence[tuple[Release, EventDraft]]
"""Releases as they are to be written, each with what happened."""


class Catalog(Protocol):
    """Rows about versions, tags and evidence, and about releases. Raises `RegistryUnavailable`.

    Every method is one transaction; two that change the same model wait for each other. What is not there is
    answered with None or False: `Registry` knows the words.
    """

    @property
    def where(self) -> str:
        """What a message calls it: a folder or URL."""

    def add(self, new: NewVersion, tags: Sequence[str], ensure_stored: Callable[[], object]) -> ModelVersion:
        """Give a version the next number and tag it; the same digest again keeps its version.

        `ensure_stored` is called inside the transaction, where no `discard` can run; if it raises, nothing
        is added.
        """

    def find(self, ref: Ref) -> ModelVersion | None:
        """Find the version that a reference names; a bare name means the highest."""

    def models(self) -> list[str]:
        """List the names that have a version, sorted."""

    def versions(self, name: str) -> list[ModelVersion]:
        """List the versions of a model, lowest first."""

    def tag(self, name: str, version: int, tag: str) -> ModelVersion | None:
        """Move a tag to a version; None if the version is not there."""

    def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; return whether there was one."""

    def remove(self, name: str, version: int, *, keep_releases: int) -> tuple[str, ...] | None:
        """Forget a version unless a tag, one of the last releases or a running replica names it.

        Give what does, or None if it is not there.
        """

    def record(self, one: Evidence) -> None:
        """Add one piece of evidence."""

    def evidence(self, digest: str | None, *, history: bool) -> list[Evidence]:
        """List evidence in the order of recording: the last per bundle and fingerprint, or all of it."""

    def kept(self) -> tuple[set[str], set[str]]:
        """Return the digests of all blobs that versions name, and of all bundles that they or replicas do."""

    def discard(self, blob: str, delete: Callable[[str], bool]) -> bool:
        """Call `delete` on a blob inside a transaction in which no version names it; return whether it did."""

    def write_releases(
        self, name: str, decide: Callable[[Release | None], Written], at: str
    ) -> Release | None:
        """Write what `decide` makes of the current release, which nobody changes meanwhile.

        Each release with its event; the last is current from then on, and the tags `live` and `candidate`
        are where it says. None, and nothing is written, if the model or a version is not there.
        """

    def append_event(self, release: Release, draft: EventDraft, at: str) -> Event | None:
        """Add an event that changes no release; None if its version is not there."""

    def current_releases(self, name: str | None) -> list[Release]:
        """List the current release of every model that has one, or of one, by name."""

    def releases(self, name: str) -> list[Release]:
        """List the releases of a model, newest first."""

    def events(self, name: str | None) -> list[Event]:
        """List the events of a model or of all, in the order in which they were added."""

    def add_windows(self, some: Sequence[Window]) -> None:
        """Add windows; one that is there already (by its id) stays as it is."""

    def windows(self, name: str, release: int, since: float | None) -> list[Window]:
        """List the windows of a release that began at `since` or later, oldest first."""

    def add_feedback(self, some: Sequence[Feedback]) -> None:
        """Pass feedback on."""

    def feedback(self, after: int | None) -> tuple[int, list[Feedback]]:
        """Return the feedback that came after a mark, and the mark for the next time."""

    def lease(self, what: str, holder: str, ttl_s: float) -> bool:
        """Take or renew a lease, unless another holds one that has not run out; return whether it is held."""

    def release_lease(self, what: str, holder: str) -> None:
        """Give a lease back, if it is held."""

    def lease_holder(self, what: str) -> str | None:
        """Return who holds a lease now; None if nobody does."""

    def beat(self, replica: Replica) -> None:
        """Keep what a replica says of itself, and when by the catalog's clock."""

    def replicas(self, silent_s: float) -> list[Replica]:
        """List the replicas that beat within the last `silent_s`, by id."""

    def forget(self, replica_id: str) -> bool:
        """Take a replica off the list; return whether it was there."""

    def prune(self, windows_s: float, replicas_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove windows of ended releases and gone replicas that are older than that."""

    def close(self) -> None:
        """Let go of all connections."""
