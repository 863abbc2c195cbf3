"""Whether a version is affected, as the schema of OSV defines it. Compares versions, and looks up nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from lading.trust.feeds import Affected, Event
from lading.trust.versions import parser_of

Answer = Literal["affected", "unaffected", "unclear"]


def judge_version(affected: Affected, version: str) -> Answer:
    """Return whether a version is one that is affected; ``unclear`` if a range cannot be compared with it.

    A version is affected if it is listed, or if it is in a range (https://ossf.github.io/osv-schema/).
    """
    parse = parser_of(affected.ecosystem)
    # As a text first: a list may hold versions that no parser reads.
    if version in affected.versions:
        return "affected"
    key = None if parse is None else parse(version)
    if parse is None or key is None:
        return "unclear"
    if any(parse(listed) == key for listed in affected.versions):
        return "affected"
    # `True` before `None`: what one range says for certain does not depend on another.
    answers = {_in_range(events, key, parse) for events in affected.ranges}
    return "affected" if True in answers else "unclear" if None in answers else "unaffected"


def fixed_versions(affected: Affected, version: str) -> tuple[str, ...]:
    """Return the versions later than `version` that end a range of affected ones, the nearest first."""
    parse = parser_of(affected.ecosystem)
    key = None if parse is None else parse(version)
    if parse is None or key is None:
        return ()
    # Ranges of several series each have a fix; the nearest later one is the smallest step.
    texts = {event.fixed for events in affected.ranges for event in events if event.fixed}
    later = [(other, text) for text in texts if (other := parse(text)) is not None and other > key]
    return tuple(text for _, text in sorted(later))


def _in_range(events: tuple[Event, ...], key: Any, parse: Callable[[str], Any]) -> bool | None:
    """Return whether a version is in one range, or None if the range holds what is no version."""
    ends = [_end(event, parse) for event in events]
    if any(end is None for end in ends):
        return None
    known = [end for end in ends if end is not None]
    limits = [at for kind, at in known if kind == "limit"]
    if limits and not any(at is Ellipsis or key < at for at in limits):
        return False
    inside = False
    # A stable sort: of two events at one version, the one that the entry states last counts.
    for kind, at in sorted((end for end in known if end[0] != "limit"), key=_place):
        if kind == "introduced" and (at is None or key >= at):
            inside = True
        elif (kind == "fixed" and key >= at) or (kind == "last_affected" and key > at):
            inside = False
    return inside


class _Place:
    """A version in the order of events, where None is before all others."""

    def __init__(self, at: Any) -> None:
        self.at = at

    def __lt__(self, other: _Place) -> bool:
        if self.at is None or other.at is None:
            return self.at is None and other.at is not None
        return bool(self.at < other.at)


def _place(end: tuple[str, Any]) -> _Place:
    return _Place(end[1])


def _end(event: Event, parse: Callable[[str], Any]) -> tuple[str, Any] | None:
    """Return the kind of an event and its version to compare: None for `0`, an ellipsis for no limit."""
    for kind in ("introduced", "fixed", "last_affected", "limit"):
        text = getattr(event, kind)
        if not text:
            continue
        if kind == "introduced" and text == "0":
            return kind, None
        if kind == "limit" and text == "*":
            return kind, Ellipsis
        at = parse(text)
        return None if at is None else (kind, at)
    return None
