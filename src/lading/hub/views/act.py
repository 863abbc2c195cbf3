"""What a person may do to a release, and the page that asks for the reason and for confirmation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from lading.errors import UsageError
from lading.release import Event, Release
from lading.rollout import promoted
from lading.rollout.by_hand import goal_of

Act = Literal["promote", "pause", "resume", "abort", "rollback"]
ACTS: Sequence[Act] = get_args(Act)
REASON_NEEDED: frozenset[Act] = frozenset({"pause", "abort", "rollback"})
"""Acts that stop something or take it back: readers of the history ask why."""

LONGEST_REASON = 500

BUTTONS = {
    "promote": "Promote",
    "pause": "Pause",
    "resume": "Resume",
    "abort": "Take out of traffic",
    "rollback": "Roll back",
}
"""What a person may do to a release, as its button has it."""
PROBLEMS = {
    "no reason": "A reason is needed: it goes into the history.",
    "long reason": "The reason is longer than {most} characters.",
    "unstorable reason": "The reason has a character that no database stores.",
    "signed out": "You are not signed in, or no longer. Nothing was done.",
    "meanwhile": "Nothing was done, because somebody was quicker.",
    "not possible": "Nothing was done.",
    "unknown": "It is not known whether it was done. Sent again, nothing is done twice.",
    "read-only": "Nothing was done, because the registry can only be read here.",
    "defect": "Something went wrong. The log of the hub has it.",
    "no name": "Your name is needed for the history: at most {most} printable characters.",
    "not granted": "Your key does not let you change releases of this model. Nothing was done.",
    "wrong key": "That is not the key of this hub.",
    "too soon": "Too many wrong keys. Try again in {seconds} s.",
    "old page": "This page had become too old. Try again.",
}
"""Why a form was not taken."""

# Events of servers change no release; a seal is about the history itself.
_NO_MOVES = frozenset({"ready", "failed", "sealed", "policy"})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a page displayed of a release: its number, its epoch, the last event, and where a step leads."""

    release: int
    change: int
    event: int
    to: str = ""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Seen:
        """Return what an address or a form says. Raises `UsageError`."""
        numbers = {name: values.get(name, "") for name in ("release", "change", "event")}
        for name, text in numbers.items():
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                raise UsageError(f"`{name}`", expected="a number", found=f"`{text[:80]}`")
        return cls(to=values.get("to", "")[:20], **{name: int(text) for name, text in numbers.items()})


class ActPage(msgspec.Struct, frozen=True, kw_only=True):
    """One act, what the form carries, and what happened since the page that led to it, newest first.

    ``target`` is where it leads: a percentage, ``live``, or a version. Without `possible` the release does
    not stand so that it can be done, and ``refusal`` may have a sentence about it. Without a release nothing
    is known of it, because the registry has never answered.
    """

    act: Act
    name: str
    release: Release | None
    seen: Seen
    target: str
    possible: bool
    refusal: str
    needs_reason: bool
    meanwhile: list[Event]


def act_page(
    act: Act, release: Release, events: Sequence[Event], before: Seen | None, target: str, refusal: str
) -> ActPage:
    """Return the page of an act; `events` are the last ones, newest first, and `before` an earlier page."""
    # What the form carries is what this page displays, and not what an earlier one did.
    newest = events[0].seq if events else 0
    leads_to = next_step(release) if act == "promote" else target
    since = before.event if before is not None else newest
    return ActPage(
        act=act,
        name=release.name,
        release=release,
        seen=Seen(release=release.number, change=release.epoch, event=newest, to=leads_to),
        target=leads_to,
        possible=act in possible_acts(release) and not refusal,
        refusal=refusal,
        needs_reason=act in REASON_NEEDED,
        meanwhile=moves_since(events, since),
    )


def blind_page(act: Act, name: str, seen: Seen) -> ActPage:
    """Return the page of an act on a release of which nothing can be read, from what its form carries."""
    return ActPage(
        act=act,
        name=name,
        release=None,
        seen=seen,
        target=seen.to,
        possible=True,
        refusal="",
        needs_reason=act in REASON_NEEDED,
        meanwhile=[],
    )


def moves_since(events: Sequence[Event], seq: int) -> list[Event]:
    """Return the events above a position that changed a release."""
    return [event for event in events if event.seq > seq and event.kind not in _NO_MOVES]


def possible_acts(release: Release) -> list[Act]:
    """Return what a person may do to a release as it stands."""
    if release.is_open:
        return ["promote", "resume" if release.state == "paused" else "pause", "abort"]
    return ["rollback"] if release.state == "live" and release.replaces is not None else []


def next_step(release: Release) -> str:
    """Return where the next step leads: a percentage as text, ``live``, or nothing."""
    return goal_of(promoted(release, "", "")) if release.is_open else ""
