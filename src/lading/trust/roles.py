"""Who fills which role, where nobody may fill two: a matching of roles and keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

_Role = TypeVar("_Role", bound=str)


def assignment(holders: Mapping[_Role, Collection[str]]) -> dict[_Role, str] | None:
    """Return a different holder for each role, or None if there are too few."""
    return _assign(list(holders), holders, {})


def _assign(
    roles: Sequence[_Role], holders: Mapping[_Role, Collection[str]], taken: dict[_Role, str]
) -> dict[_Role, str] | None:
    # By trying: there are three roles at most.
    if not roles:
        return taken
    role, *rest = roles
    # Sorted, so that every server names the same people for the same statements.
    for name in sorted(holders[role]):
        if name not in taken.values():
            complete = _assign(rest, holders, {**taken, role: name})
            if complete is not None:
                return complete
    return None
