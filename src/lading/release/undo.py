"""Going back from a release that went live: which release an undo means, and what was live before it.

Pure. An undo is not an abort: that takes a candidate that is still on its way out of traffic.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

from lading.errors import StaleRelease, UsageError, VersionNotFound

if TYPE_CHECKING:
    from lading.release import Release
    from lading.release.events import Event


def rollbacks(events: Iterable[Event]) -> set[int]:
    """Return the numbers of the releases that are rollbacks themselves; `events` are those of one model."""
    # A canary that was rolled back has such an event as well, but not as its first.
    first: dict[int, str] = {}
    for event in events:
        first.setdefault(event.number, event.kind)
    return {number for number, kind in first.items() if kind == "rolled_back"}


def rollback_target(
    name: str, history: Sequence[Release], rolled_back: Collection[int] = (), *, number: int | None = None
) -> int:
    """Return the version that was live before the release to undo: `number`, else the last one.

    `history` holds the releases of one model, newest first, and `rolled_back` the numbers of those that are
    rollbacks: undoing one of them would bring back what somebody has just removed. Raises `UsageError` if
    there is nothing to undo, `StaleRelease` if release `number` did not make live what is live, and
    `VersionNotFound` if nothing was live before.
    """
    where = f"rollback of `{name}`"
    if not history:
        _nothing_before(name)
    now = history[0]
    if now.is_open:
        _refuse_open(now, number)
    made = next((release for release in history if release.state == "live"), None)
    if made is None or made.live != now.live:
        _nothing_before(name)
    if number not in (None, made.number):
        raise StaleRelease(
            f"release {number} of `{name}`",
            expected="it to have made live what is live",
            found=f"`{name}:{made.live}`, live by release {made.number}, by `{made.actor}`",
            hint=f"look at it again: `lading history {name}`",
        )
    if number is None and made is not now:
        raise UsageError(
            where,
            expected="a last release that went live",
            found=f"release {now.number}, state `{now.state}`: `{name}:{made.live}` has stayed live",
            hint=f"`lading rollback {name} --release {made.number}` undoes the release that made it live",
        )
    if made.number in rolled_back:
        raise UsageError(
            where,
            expected="a release that is no rollback itself",
            found=f"release {made.number}, the rollback to `{name}:{made.live}` by `{made.actor}`",
            hint=f"`lading rollback {name} --to N` goes to any version; `lading history {name}` lists them",
        )
    # A version that was released over itself replaced nothing: what was live before that counts.
    older = [release for release in history if release.number < made.number]
    known = (made.replaces, *(version for release in older for version in (release.live, release.replaces)))
    target = next((version for version in known if version not in (None, made.live)), None)
    if target is None:
        _nothing_before(name)
    return target


def _refuse_open(now: Release, number: int | None) -> NoReturn:
    candidate = f"`{now.name}:{now.candidate}`"
    hint = f"`lading rollout abort {now.name} --release {now.number}` takes {candidate} out of traffic"
    if number not in (None, now.number):
        raise StaleRelease(
            f"release {number} of `{now.name}`",
            expected="it to be the last",
            found=f"release {now.number}, {candidate} on its way, by `{now.actor}`",
            hint=hint,
        )
    raise UsageError(
        f"rollback of `{now.name}`",
        expected="a release that went live",
        found=f"release {now.number}, {candidate} still on its way",
        hint=hint,
    )


def _nothing_before(name: str) -> NoReturn:
    raise VersionNotFound(
        f"rollback of `{name}`",
        expected="a version that was live before",
        found="none",
        hint=f"`lading rollback {name} --to N` names one",
    )
