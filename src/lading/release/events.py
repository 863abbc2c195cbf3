"""What happened to a release: events, chained by hashes so that a changed or missing one is found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

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
    "sealed",
    "policy",
]

# The first event of a chain carries this as the hash of the one before.
NO_HASH = "0" * 64


class EventDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An event as its author knows it, before it is numbered and chained."""

    kind: EventKind
    actor: str
    reason: str = ""
    from_: str = ""
    to: str = ""
    evidence: dict[str, Any] = {}
    fingerprint: str = ""
    version: int | None = None  # None: the candidate if there is one, else the live version


class Event(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One thing that happened to a release; never changed."""

    name: str
    number: int  # of the release
    seq: int  # 1, 2, 3 … per model
    at: str
    actor: str
    kind: EventKind
    from_: str
    to: str
    reason: str
    evidence: dict[str, Any]
    digest: str
    fingerprint: str
    previous: str  # the hash of the event before
    hash: str  # `event_hash` of all the other fields


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
