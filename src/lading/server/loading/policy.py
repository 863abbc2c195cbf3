"""Which version to load or unload next: a pure function from what is wanted and present to at most one step.

The idea is TensorFlow Serving's: a source states aspired versions, and a policy without state chooses one
action (`tensorflow_serving/core/aspired_version_policy.h`). Loads and unloads nothing; the manager does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lading.bundle import Bundle
from lading.evidence import Evidence
from lading.server.inference.version import ServedVersion, State

Key = tuple[str, int, str]
"""What identifies a version: name, number and digest."""


class EvidenceBook(Protocol):
    """Where evidence about bundles is kept: a registry."""

    def evidence(self, digest: str) -> Sequence[Evidence]:
        """Return the last evidence about a bundle for each fingerprint."""
        ...

    def record(self, evidence: Evidence) -> None:
        """Store evidence."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that should be ready: what it is, and how its bundle is opened (and checked).

    ``book`` is where evidence about it is kept, if it comes from a registry; ``attested`` returns what was
    signed about it.
    """

    name: str
    version: int
    digest: str
    open: Callable[[], Bundle]
    tags: tuple[str, ...] = ()
    book: EvidenceBook | None = None
    attested: Callable[[], list[str]] = list

    @property
    def key(self) -> Key:
        """What identifies the version."""
        return (self.name, self.version, self.digest)


@dataclass(frozen=True, slots=True)
class Load:
    """Load this wanted version."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Unload:
    """Drain this version and free its memory."""

    served: ServedVersion


Step = Load | Unload

Policy = Callable[[Sequence[Wanted], Sequence[ServedVersion]], Step | None]
"""Chooses the next step, or None if there is nothing to do."""


def load_first(wanted: Sequence[Wanted], present: Sequence[ServedVersion]) -> Step | None:
    """Load the new version before the old one is unloaded: the model always answers, but needs memory twice.

    A failed version is neither retried nor taken for ready: if nothing else of its model is ready, the old
    one stays. A version whose model is not wanted any more is unloaded immediately. One that drains cannot
    come back: if it is wanted again, it is loaded again.
    """
    held = held_versions(present)
    for version in wanted:
        if version.key not in held:
            return Load(version)
    return _next_unload(wanted, present)


def unload_first(wanted: Sequence[Wanted], present: Sequence[ServedVersion]) -> Step | None:
    """Unload the old version before the new one is loaded: needs memory once, but leaves a gap between them.

    Otherwise as `load_first`.
    """
    held = held_versions(present)
    wanted_keys = {version.key for version in wanted}
    for version in wanted:
        if version.key not in held:
            unwanted = (served for key, served in held.items() if key not in wanted_keys)
            former = [served for served in (*_draining(present), *unwanted) if served.name == version.name]
            return Unload(former[0]) if former else Load(version)
    return _next_unload(wanted, present)


def held_versions(present: Sequence[ServedVersion]) -> dict[Key, ServedVersion]:
    """Return the versions that are here to stay, or have failed; not those that drain or are unloaded."""
    return {
        served.key: served
        for served in present
        if served.state <= State.READY or served.state is State.FAILED
    }


def _next_unload(wanted: Sequence[Wanted], present: Sequence[ServedVersion]) -> Unload | None:
    """Choose what to unload when everything that is wanted is held."""
    held = held_versions(present)
    wanted_keys = {version.key for version in wanted}
    for key, served in held.items():
        if key in wanted_keys:
            continue
        # The old version goes when every successor has come to rest and one of them answers, or when its
        # model is not wanted any more and has no successor.
        successors = {held[version.key].state for version in wanted if version.name == served.name}
        settled = successors <= {State.READY, State.FAILED}
        if served.state is State.FAILED or not successors or (settled and State.READY in successors):
            return Unload(served)
    draining = _draining(present)
    # The least busy first: otherwise it would wait for one whose requests take without end.
    return Unload(min(draining, key=lambda served: served.in_flight)) if draining else None


def _draining(present: Sequence[ServedVersion]) -> list[ServedVersion]:
    return [served for served in present if served.state is State.DRAINING]
