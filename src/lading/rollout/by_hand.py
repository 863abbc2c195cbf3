"""What a person does to a release: one step up, pause, resume, out of traffic, back to the version before.

Commands and the hub call these; each makes one change at most, and the catalog decides whose was first.
Prints nothing and asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.errors import StaleRelease, UsageError, VersionNotFound
from lading.ref import Ref
from lading.registry.releases import check_number
from lading.release.undo import rollback_target, rollbacks
from lading.rollout.moves import Move, apply, paused, promoted, resumed

if TYPE_CHECKING:
    from lading.evidence import Evidence
    from lading.registry import ModelVersion, Registry
    from lading.release import Release

Prove = Callable[["ModelVersion"], "Evidence"]


@dataclass(frozen=True, slots=True)
class Meant:
    """The release that a person means: its number and, if he has seen it as it was, the epoch of that."""

    number: int | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A release after an act of a person; ``changed`` is False if there was nothing left to do."""

    release: Release
    changed: bool


@dataclass(frozen=True, slots=True)
class Restored:
    """A release after a rollback to the version `target`; ``before`` is the one that it undid.

    ``evidence`` is the proof that was asked for, or None if none was.
    """

    release: Release
    changed: bool
    target: int
    before: Release | None
    evidence: Evidence | None


def current_release(registry: Registry, name: str) -> Release:
    """Return the current release of a model. Raises `ModelNotFound`, `VersionNotFound`."""
    releases = registry.releases(name)
    if not releases:
        hint = f"`lading release {name}:1` releases version 1"
        raise VersionNotFound(f"releases of `{name}`", expected="at least one", found="none", hint=hint)
    return releases[0]  # The newest one is first.


def promote(registry: Registry, name: str, meant: Meant, *, to: str | None, actor: str, reason: str) -> Done:
    """Take a release one step up: to `to`, a whole percentage or ``live``, and nowhere else.

    Raises `StaleRelease` if its next step is another one or somebody changed it meanwhile, and `UsageError`
    without a number or `to`: sent twice, such a wish would take two steps.
    """

    def choose(release: Release) -> Move | None:
        # Somebody else has had the same wish, or this one was sent twice.
        if meant.number is not None and to is not None and _is_at(release, to):
            return None
        move = promoted(release, actor, reason or "by hand")
        if meant.number is None or to is None:
            raise _not_named(release, goal_of(move))
        _check_goal(release, move, to)
        return move

    return _steer(registry, name, meant, choose)


def pause(registry: Registry, name: str, meant: Meant, *, actor: str, reason: str) -> Done:
    """Keep the shares of a release as they are until `resume`."""

    def choose(release: Release) -> Move | None:
        return None if release.state == "paused" else paused(release, actor, reason)

    return _steer(registry, name, meant, choose)


def resume(registry: Registry, name: str, meant: Meant, *, actor: str, reason: str) -> Done:
    """Let a paused release continue from its current step."""

    def choose(release: Release) -> Move | None:
        return None if release.state == "running" else resumed(release, actor, reason)

    return _steer(registry, name, meant, choose)


def abort(registry: Registry, name: str, meant: Meant, *, actor: str, reason: str) -> Done:
    """Take the candidate of a release out of traffic, whatever its step is by now."""
    current = current_release(registry, name)
    check_number(name, current, meant.number)
    if current.state == "rolled_back":
        return Done(current, changed=False)
    # Of another epoch as well: what is meant is the candidate, and it shall get no more requests.
    moved = registry.releases.abort(name, release=meant.number, actor=actor, reason=reason or "by hand")
    return Done(moved, changed=True)


def roll_back(
    registry: Registry,
    name: str,
    number: int | None,
    *,
    to: int | None = None,
    actor: str,
    reason: str,
    prove: Prove | None = None,
) -> Restored:
    """Make the version that was live before the last release live again, or the version `to`.

    `number` is that of the release that is meant. `prove` returns the evidence for a version that is not
    serving now; without it, the version counts as proved by having been live.
    """
    history = registry.releases(name)
    current = history[0] if history else None
    target = to if to is not None else target_of(registry, name, number, history)
    # Rolled back before: a second release of the same version would only restart its evidence.
    if current is not None and is_live(current, target):
        return Restored(current, changed=False, target=target, before=current, evidence=None)
    evidence = None
    # The live version beside a candidate is serving now: nothing may hold up going back to it.
    if prove is not None and (current is None or target != current.live):
        evidence = prove(registry.resolve(Ref(name, version=target)))
    runtime = evidence.fingerprint.id if evidence is not None else None
    # The release is named, because proving has taken seconds in which somebody else may have released.
    meant = number or (current.number if current is not None else None)
    restored = registry.releases.rollback(
        name, release=meant, to=to, actor=actor, runtime=runtime, reason=reason
    )
    return Restored(restored, changed=True, target=target, before=current, evidence=evidence)


def target_of(registry: Registry, name: str, number: int | None, history: list[Release] | None = None) -> int:
    """Return the version that `roll_back` goes to. Raises what `rollback_target` raises."""
    releases = history if history is not None else registry.releases(name)
    return rollback_target(name, releases, rollbacks(registry.releases.events(name)), number=number)


def check_seen(release: Release, meant: Meant) -> None:
    """Raise `StaleRelease` if somebody has changed a release since its author saw it."""
    # A release that was paused and resumed meanwhile looks as before, and is not what its author decided on.
    if meant.epoch is not None and meant.epoch != release.epoch:
        raise StaleRelease(
            f"release {release.number} of `{release.name}`",
            expected=f"change {meant.epoch} of it to be the last",
            found=f"change {release.epoch}",
            hint=f"look at it again: `lading rollout status {release.name}`",
        )


def is_live(current: Release, version: int) -> bool:
    """Return whether the release has ended with `version` live, so that nothing is left to do."""
    return not current.is_open and current.live == version


def goal_of(move: Move) -> str:
    """Return where a promotion leads: ``live``, or a percentage as text."""
    return "live" if move.changes.get("state") == "live" else move.event.to.removesuffix(" %")


def _steer(registry: Registry, name: str, meant: Meant, choose: Callable[[Release], Move | None]) -> Done:
    release = current_release(registry, name)
    check_number(name, release, meant.number)
    check_seen(release, meant)
    move = choose(release)
    # Written only over the very change that was read just now.
    return (
        Done(release, changed=False) if move is None else Done(apply(registry, release, move), changed=True)
    )


def _is_at(release: Release, goal: str) -> bool:
    if goal == "live":
        return release.state == "live"
    return release.is_open and f"{release.weight_percent:g}" == goal


def _not_named(release: Release, goal: str) -> UsageError:
    """Return the error of a wish that would take another step each time it is sent."""
    name, candidate = release.name, f"`{release.name}:{release.candidate}`"
    command = f"lading rollout promote {name} --release {release.number} --to {goal}"
    where = f"from {release.weight_percent:g} % to {goal} %" if goal != "live" else "live"
    return UsageError(
        f"promotion of `{name}`",
        expected="`--release` and `--to`, which name the step that is meant",
        found="not both",
        hint=f"`{command}` takes {candidate} {where}",
    )


def _check_goal(release: Release, move: Move, goal: str) -> None:
    """Raise `StaleRelease` if a move leads elsewhere than its author meant."""
    leads_to = goal_of(move)
    if leads_to != goal:
        percent = "" if leads_to == "live" else " %"
        raise StaleRelease(
            f"promotion of release {release.number} of `{release.name}` from {release.weight_percent:g} %",
            expected=f"its next step, {leads_to}{percent}",
            found=f"`--to {goal}`",
            hint=f"look at it again: `lading rollout status {release.name}`",
        )
