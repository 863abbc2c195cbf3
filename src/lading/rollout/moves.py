"""What may happen to a release on its way: pure decisions, each at most one change with its event.

Reads no registry and no clock; `apply` writes a move as one compare-and-set, so that the slower of two
writers gets an error and nothing is done twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.errors import UsageError
from lading.release import Changes, EventDraft, Release
from lading.verdict import Verdict

if TYPE_CHECKING:
    from lading.registry import Registry


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a release: what to set, and its event."""

    changes: Changes
    event: EventDraft


def decide(release: Release, verdict: Verdict, actor: str) -> Move | None:
    """Choose at most one move that follows from the verdict; None is to wait.

    A canary goes up one step, from the last one to live. Shadow and A/B releases are never promoted
    automatically; harm rolls them back all the same.
    """
    # Ended releases do not move, and paused ones only by hand.
    if release.state != "running":
        return None
    if verdict.action == "roll_back":
        return rolled_back(release, actor, "; ".join(verdict.reasons), verdict)
    # A shadow has answered nobody yet, and an A/B test is for people to compare.
    if verdict.action != "promote" or release.plan.mode != "canary":
        return None
    requests = verdict.numbers.get("candidate.requests", 0)
    return promoted(release, actor, f"no harm seen in {requests:,.0f} requests", verdict)


def promoted(release: Release, actor: str, reason: str, verdict: Verdict | None = None) -> Move:
    """Return the next step up: the next weight of the plan, or live after the last. Raises `UsageError`."""
    if not release.is_open:
        raise _refusal(release, "a candidate on its way")
    steps, evidence = release.plan.steps, _evidence(verdict)
    if release.plan.mode == "canary" and release.step + 1 < len(steps):
        step = release.step + 1
        event = EventDraft(
            kind="step",
            actor=actor,
            reason=reason,
            from_=f"{release.weight_percent:g} %",
            to=f"{steps[step]:g} %",
            evidence=evidence,
        )
        # A paused release that is promoted by hand runs again.
        return Move({"step": step, "state": "running"}, event)
    # After the last step of a canary, or by hand from a shadow or an A/B test, which have one step only.
    event = EventDraft(
        kind="promoted",
        actor=actor,
        reason=reason,
        from_=str(release.live),
        to=str(release.candidate),
        evidence=evidence,
    )
    return Move({"state": "live", "reason": reason}, event)


def rolled_back(release: Release, actor: str, reason: str, verdict: Verdict | None = None) -> Move:
    """Return the move that takes the candidate out of traffic. Raises `UsageError`."""
    if not release.is_open:
        raise _refusal(release, "a candidate on its way")
    event = EventDraft(
        kind="rolled_back",
        actor=actor,
        reason=reason,
        from_=str(release.candidate),
        to=str(release.live),
        evidence=_evidence(verdict),
    )
    return Move({"state": "rolled_back", "reason": reason}, event)


def paused(release: Release, actor: str, reason: str) -> Move:
    """Return the move that keeps the weight as it is until `resumed`. Raises `UsageError`."""
    if release.state != "running":
        raise _refusal(release, "state `running`")
    return Move({"state": "paused", "reason": reason}, EventDraft(kind="paused", actor=actor, reason=reason))


def resumed(release: Release, actor: str, reason: str) -> Move:
    """Return the move that continues a paused release. Raises `UsageError`."""
    if release.state != "paused":
        raise _refusal(release, "state `paused`")
    return Move(
        {"state": "running", "reason": reason}, EventDraft(kind="resumed", actor=actor, reason=reason)
    )


def apply(registry: Registry, release: Release, move: Move) -> Release:
    """Write a move and its event; raises `StaleRelease` if the release was changed meanwhile."""
    return registry.releases.change(release, event=move.event, **move.changes)


def _evidence(verdict: Verdict | None) -> dict[str, object]:
    return {"reasons": list(verdict.reasons), **verdict.numbers} if verdict is not None else {}


def _refusal(release: Release, expected: str) -> UsageError:
    where = f"release {release.number} of `{release.name}`"
    hint = f"`lading rollout status {release.name}` shows where it stands"
    return UsageError(where, expected=expected, found=f"state `{release.state}`", hint=hint)
