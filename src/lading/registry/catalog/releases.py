"""The contract of a catalog's rows about releases and their events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from lading.release import EventDraft, Release

if TYPE_CHECKING:
    from lading.registry.records import EventPage
    from lading.release import Event
    from lading.release.seals import Keyring

SEARCHED_EVENTS = 20_000
"""How many events a page of a kind or an actor looks through: no index has either."""

# Releases as they are to be written, each with its event.
Writes = Sequence[tuple[Release, EventDraft]]
# Decides what to write from the current release, None if there never was one.
Decide = Callable[[Release | None], Writes]


class ReleaseCatalog(Protocol):
    """Releases and their events, which are only ever added."""

    @property
    def keyring(self) -> Keyring | None:
        """The keys that seal events, if there are any."""

    def write(self, name: str, decide: Decide, at: str) -> Release | None:
        """Write what `decide` returns for the current release, which nobody else changes meanwhile.

        Each release is written with its event; the last one is current from then on, and the tags `live` and
        `candidate` follow it. Return that one, or None, with nothing written, if the model or a version does
        not exist.
        """

    def append_event(self, release: Release, draft: EventDraft, at: str) -> Event | None:
        """Add an event that changes no release and return it, or None if its version does not exist."""

    def current(self, name: str | None) -> list[Release]:
        """Return the current release of one model, or of every model by name, that has one."""

    def of(self, name: str) -> list[Release]:
        """Return the releases of a model, newest first."""

    def last_events(self, name: str, limit: int) -> list[Event]:
        """Return at most `limit` events of a model, newest first."""

    def event_page(
        self, name: str | None, *, kind: str, actor: str, below: int | None, limit: int
    ) -> EventPage:
        """Return at most `limit` events of a model or of all, newest first, of a kind and an actor if named.

        `below` is the position to go on from: of one model's events their ``seq``, of all models' the order
        in which they were added. A page of a kind or an actor may have fewer events than `limit`, or none,
        and still older ones: it looks at `SEARCHED_EVENTS`.
        """

    def events(self, name: str | None) -> list[Event]:
        """Return the events of a model or of all, in the order in which they were added."""
