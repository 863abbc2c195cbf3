"""Whether the history of a model's releases is whole: its chain, its end, and what it says is live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lading.errors import HistoryBroken
from lading.release import Release
from lading.release.events import Event, EventKind, verify_chain
from lading.release.from_history import contradiction
from lading.release.seals import Keyring

_NOTES: frozenset[EventKind] = frozenset({"ready", "failed", "sealed", "policy"})
"""Events that change no release."""
_HINT = "the record was modified by something other than lading; compare it with a copy of the catalog"


def check_history(
    name: str, events: Sequence[Event], releases: Sequence[Release], keyring: Keyring | None
) -> None:
    """Check all events of a model, oldest first, against each other and its releases, newest first.

    Raises `HistoryBroken`, which names the first event that was altered or is missing.
    """
    where = f"history of `{name}`"
    broken = verify_chain(events)
    if broken is not None:
        actual = f"`{broken.kind}` by `{broken.actor}` at {broken.at}, altered or after one that was removed"
        expected = "an event as it was recorded"
        raise HistoryBroken(f"{where}, event {broken.seq}", expected=expected, found=actual, hint=_HINT)
    # The end of a chain can be cut off without a trace in the chain, but not in the releases: the epoch of a
    # release grows by one with each change, and each change is an event. Notes at the end leave no trace.
    changes = Counter(event.number for event in events if event.kind not in _NOTES)
    for release in releases:
        if changes[release.number] < release.epoch:
            expected = f"{release.epoch} changes of release {release.number}"
            actual = str(changes[release.number])
            raise HistoryBroken(f"{where}, its end", expected=expected, found=actual, hint=_HINT)
    wrong = contradiction(releases[0], events, keyring) if releases else None
    if wrong is not None:
        raise HistoryBroken(f"release {releases[0].number} of `{name}`: {wrong}", hint=_HINT)


def how_forgeable(keyring: Keyring | None) -> str:
    """Return in words who could have written a history that `check_history` accepts."""
    if keyring is None:
        return (
            "no key (`LADING_HISTORY_KEY_FILE`): anyone who can write to the catalog can write a whole "
            "new chain"
        )
    return f"sealed: without a secret of the key file (now `{keyring.current}`) nobody can have written it"
