"""What happened to a release: events, chained by hashes so that a changed or missing one is found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from lading.release import Release

EventKind = Literal[
    "released",
    "step",
    "paused",
    "resumed",
    "promoted",
    "rolled_back",
    "refused",
    "superseded",
    "ready",
    "failed",
]

NO_HASH = "0" * 64
"""What the first event of a chain carries as the hash of the one before."""


class EventDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An event as its author knows it. ``version`` is the one it is about: else the candidate, else live."""

    kind: EventKind
    actor: str
    reason: str = ""
    from_: str = ""
    to: str = ""
    evidence: dict[str, Any] = {}
    fingerprint: str = ""
    version: int | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One thing that happened to a release; never changed. ``seq`` counts 1, 2, 3 … per model.

    ``hash`` is the sha256 of the canonical JSON of all else, which holds the hash of the event before.
    """

    name: str
    number: int
    seq: int
    at: str
    actor: str
    kind: EventKind
    from_: str
    to: str
    reason: str
    evidence: dict[str, Any]
    digest: str
    fingerprint: str
    previous: str
    hash: str


def link(previous: Event | None, release: Release, draft: EventDraft, *, at: str, digest: str) -> Event:
    """Make the event that follows `previous` in the chain of the release's model."""
    event = Event(
        name=release.name,
        number=release.number,
        seq=previous.seq + 1 if previous is not None else 1,
        at=at,
        actor=draft.actor,
        kind=draft.kind,
        from_=draft.from_,
        to=draft.to,
        reason=draft.reason,
        # As it comes out of JSON, so that an event is the same before and after it was kept.
        evidence=msgspec.json.decode(msgspec.json.encode(draft.evidence)),
        digest=digest,
        fingerprint=draft.fingerprint or release.runtime or "",
        previous=previous.hash if previous is not None else NO_HASH,
        hash="",
    )
    return msgspec.structs.replace(event, hash=event_hash(event))


def event_hash(event: Event) -> str:
    """Return the sha256 of the canonical JSON (keys sorted, no spaces) of all of an event but its hash."""
    fields = msgspec.to_builtins(event)
    del fields["hash"]
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()


def verify_chain(events: Iterable[Event]) -> Event | None:
    """Return the first event that was changed, or stands where another was left out; None if all is whole.

    Events of several models may be mixed; those of one are in their order, from the first on.
    """
    last: dict[str, Event] = {}
    for event in events:
        before = last.get(event.name)
        seq, previous = (before.seq + 1, before.hash) if before is not None else (1, NO_HASH)
        if (event.seq, event.previous, event.hash) != (seq, previous, event_hash(event)):
            return event
        last[event.name] = event
    return None
