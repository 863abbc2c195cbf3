"""What a model's history says is live: release rows are held against it, because a row can be rewritten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lading.release import Release
from lading.release.events import Event, verify_chain
from lading.release.seals import Keyring, coverage


def live_versions(events: Iterable[Event]) -> list[int | None]:
    """Return what may be live after the events of one model, the likeliest first.

    There is more than one possibility after events that state no version: ``refused`` notes that one server
    cannot hold the version, and in histories of before undoes the release as well.
    """
    live: list[int | None] = [None]
    before: dict[int, int | None] = {}  # What was live when a release was made, by its number.
    for event in events:
        if event.kind == "released" and event.number not in before:
            before[event.number] = live[0]
            mode = event.evidence.get("mode")
            if mode == "live":
                live = [_number(event.to)]
            elif mode is None:  # Its author did not state the plan.
                live = list(dict.fromkeys([*live, _number(event.to)]))
        elif event.kind in ("promoted", "rolled_back", "refused") and event.to:
            if event.number not in before:  # A rollback is a release of its own.
                before[event.number] = live[0]
            live = [_number(event.to)]
        elif event.kind in ("refused", "rolled_back"):
            live = list(dict.fromkeys([*live, before.get(event.number, live[0])]))
    return live


def contradiction(release: Release, events: Sequence[Event], keyring: Keyring | None = None) -> str | None:
    """Return in words where a model's current release contradicts its history, or None if it does not.

    With a `keyring`, events that no seal covers are no history.
    """
    broken = verify_chain(events)
    if broken is not None:
        return f"event {broken.seq} of its history was altered, or follows one that was removed"
    fault = coverage(events, keyring).fault if keyring is not None else None
    if fault is not None:
        return f"{fault} (keys of `LADING_HISTORY_KEY_FILE`)"
    live = live_versions(events)
    if release.live not in live:
        return f"its row says that {_named(release.live)} is live, its history {_named(live[0])}"
    own = [event for event in events if event.number == release.number and event.kind == "released"]
    if release.candidate is not None and release.candidate not in [_number(event.to) for event in own]:
        wanted = _named(_number(own[0].to)) if own else "none"
        return f"its row says that the candidate is {_named(release.candidate)}, its history {wanted}"
    return None


def trusted(events: Sequence[Event], keyring: Keyring | None) -> Sequence[Event]:
    """Return the events of a model that may be believed: with a `keyring`, those that a seal covers."""
    return events if keyring is None else events[: coverage(events, keyring).count]


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _named(version: int | None) -> str:
    return f"version {version}" if version is not None else "no version"
