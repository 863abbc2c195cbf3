"""Locks that differ from the one of a bundle: after an upgrade, and mixed of two.

Resolves, and installs nothing. A package that keeps its version keeps its wheels, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from lading.bundle.environment_lock import EnvironmentLock, lock_of
from lading.errors import RequirementsRefused
from lading.runtime.python.resolver import Resolver, requirement_name

_APART_HINT = "name the packages that have to move along with `--upgrade` as well, or another version"

Resolve = Callable[[Mapping[str, str]], EnvironmentLock]
"""Returns a lock with the packages of the mapping at the versions there; raises `RequirementsRefused`."""


@dataclass(frozen=True, order=True)
class Change:
    """A package whose version differs between two locks; None is a lock that does not have it."""

    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.name} {self.new}, which is new"
        return f"{self.name} {self.old} → {self.new or 'none'}"


def changes(old: EnvironmentLock, new: EnvironmentLock) -> tuple[Change, ...]:
    """Return the packages that differ, by name."""
    before, after = old.versions, new.versions
    names = sorted(before.keys() | after.keys())
    both = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(change for change in both if change.old != change.new)


def upgraded(lock: EnvironmentLock, lines: Sequence[str], resolver: Resolver) -> EnvironmentLock:
    """Return `lock` with the requirements in `lines`; every other package keeps its version if it can.

    Raises `RequirementsRefused` if nothing goes together with them, and `EnvironmentFailed`.
    """
    stated = {requirement_name(line) for line in lines}
    # By name as well: a package that nothing requires any more may still be imported by the model's code.
    others = {name: version for name, version in lock.versions.items() if name not in stated}

    def resolve(pins: Mapping[str, str]) -> EnvironmentLock:
        return resolver.resolve([*lines, *others], pins)

    try:
        return with_wheels(keep_most(others, resolve), lock)
    except RequirementsRefused as error:
        raise error.with_hint(_APART_HINT) from None


def newest(lock: EnvironmentLock, resolver: Resolver) -> EnvironmentLock:
    """Return the newest versions of all packages of `lock` that go together; raises as `upgraded` does."""
    return with_wheels(resolver.resolve([*lock.versions], {}), lock)


def mixed(
    old: EnvironmentLock, new: EnvironmentLock, names: Collection[str], resolver: Resolver
) -> EnvironmentLock:
    """Return `old` with the packages `names` as they are in `new`; raises as `upgraded` does."""
    chosen = {
        name: (new if name in names else old).versions.get(name)
        for name in old.versions.keys() | new.versions.keys()
    }
    # What the chosen lock does not have may be needed all the same: then in the version of the other one.
    pins = {name: version or (old.versions | new.versions)[name] for name, version in chosen.items()}
    lines = sorted(name for name, version in chosen.items() if version is not None)
    return with_wheels(resolver.resolve(lines, pins), old, new)


def keep_most(pins: Mapping[str, str], resolve: Resolve) -> EnvironmentLock:
    """Return what `resolve` makes of as many `pins` as go together; none of the others could be added.

    Raises `RequirementsRefused` if it makes nothing of none of them.
    """
    try:
        return resolve(pins)
    except RequirementsRefused:
        best, kept = resolve({}), dict[str, str]()
    # Halves, and halves of those that do not go: most often a single package stands in the way.
    waiting = _halves(sorted(pins))
    while waiting:
        names = waiting.pop(0)
        more = {**kept, **{name: pins[name] for name in names}}
        try:
            best, kept = resolve(more), more
        except RequirementsRefused:
            waiting[:0] = _halves(names)
    return best


def _halves(names: list[str]) -> list[list[str]]:
    """Return two halves, and nothing of a single name."""
    middle = len(names) // 2
    return [names[:middle], names[middle:]] if middle else []


def with_wheels(lock: EnvironmentLock, *others: EnvironmentLock) -> EnvironmentLock:
    """Return the lock with the wheels that `others` name for the same versions: they are what was proved."""
    known = {(pin.name, pin.version): pin for other in others for pin in other.pins}
    return lock_of(known.get((pin.name, pin.version), pin) for pin in lock.pins)
