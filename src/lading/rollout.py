"""The rollout driver: moves traffic to a candidate step by step, as live evidence allows.

`decide` is a pure function of a release and its verdict; `Driver` reads windows, asks for the verdict and
writes the change with its event in one transaction, under a lease that one process holds at a time. It
talks to the catalog only: servers read what it wrote there. Each change is one compare-and-set, so that a
driver killed at any point leaves a release from which the next one goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lading.errors import ConflictError, RegistryUnavailable, UsageError
from lading.release import Changes, EventDraft, Release, Window
from lading.verdict import Verdict, judge

if TYPE_CHECKING:
    from lading.registry import Registry

log = logging.getLogger("lading.rollout")

LEASE = "rollout"
LEASE_S = 5.0
"""A killed leader is replaced once its lease has run out, within 10 s in all."""


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a release: what to set, and how the event calls it."""

    changes: Changes
    event: EventDraft


def decide(release: Release, verdict: Verdict, actor: str) -> Move | None:
    """Choose what follows from the verdict, at most one move; None is to wait.

    A canary goes up one step, from the last one to live. Shadow and A/B releases are never promoted by
    themselves, for the one has answered nobody and the other was made to be compared by people; harm takes
    them back all the same.
    """
    if release.state != "running":
        return None
    reason = "; ".join(verdict.reasons)
    if verdict.action == "roll_back":
        return rolled_back(release, actor, reason, verdict)
    if verdict.action != "promote" or release.plan.mode != "canary":
        return None
    return promoted(release, actor, reason, verdict)


def promoted(release: Release, actor: str, reason: str, verdict: Verdict | None = None) -> Move:
    """Give the next step up: the next weight of the plan, or live after the last. Raises `UsageError`."""
    if not release.is_open:
        raise _ended(release)
    steps, evidence = release.plan.steps, _evidence(verdict)
    if release.plan.mode == "canary" and release.step + 1 < len(steps):
        step = release.step + 1
        event = EventDraft(
            kind="step",
            actor=actor,
            reason=reason,
            from_=f"{release.weight_percent:g} %",
            to=f"{steps[step]} %",
            evidence=evidence,
        )
        return Move({"step": step, "state": "running"}, event)
    event = EventDraft(
        kind="promoted",
        actor=actor,
        reason=reason,
        from_=f"version {release.live}",
        to=f"version {release.candidate}",
        evidence=evidence,
    )
    return Move({"state": "live", "reason": reason}, event)


def rolled_back(release: Release, actor: str, reason: str, verdict: Verdict | None = None) -> Move:
    """Give the move that takes the candidate out of traffic. Raises `UsageError`."""
    if not release.is_open:
        raise _ended(release)
    event = EventDraft(
        kind="rolled_back",
        actor=actor,
        reason=reason,
        from_=f"version {release.candidate}",
        to=f"version {release.live}",
        evidence=_evidence(verdict),
    )
    return Move({"state": "rolled_back", "reason": reason}, event)


def paused(release: Release, actor: str, reason: str) -> Move:
    """Give the move that leaves the weight as it is until `resumed`. Raises `UsageError`."""
    if release.state != "running":
        raise _ended(release)
    return Move({"state": "paused", "reason": reason}, EventDraft(kind="paused", actor=actor, reason=reason))


def resumed(release: Release, actor: str, reason: str) -> Move:
    """Give the move that lets a paused release go on. Raises `UsageError`."""
    if release.state != "paused":
        where = f"release {release.number} of `{release.name}`"
        raise UsageError(where, expected="state `paused`", found=f"`{release.state}`")
    return Move(
        {"state": "running", "reason": reason}, EventDraft(kind="resumed", actor=actor, reason=reason)
    )


def apply(registry: Registry, release: Release, move: Move) -> Release:
    """Write a move and its event; raises `StaleRelease` where somebody was quicker."""
    return registry.change(release, event=move.event, **move.changes)


def assess(registry: Registry, release: Release, now: float) -> Verdict:
    """Read the windows of a release and judge them; `now` is Unix time."""
    windows = registry.windows(release.name, release.number)
    return judge_windows(release, windows, now)


def judge_windows(release: Release, windows: Sequence[Window], now: float) -> Verdict:
    """Judge the windows of a release, both sides of it."""
    live = [one for one in windows if one.version == release.live]
    candidate = [one for one in windows if one.version == release.candidate]
    started = datetime.fromisoformat(release.step_started_at).timestamp()
    return judge(release.plan.gates, live, candidate, now, started, release.plan)


class Driver:
    """Drives every open release of a registry while it holds the lease."""

    def __init__(
        self,
        registry: Registry,
        holder: str,
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._holder = holder
        self._interval_s = interval_s
        self._clock = clock
        self._leading = False

    def turn(self) -> list[Release]:
        """Drive each open release by at most one move, if this process leads; give those that changed."""
        leading = self._registry.lease(LEASE, self._holder, LEASE_S)
        if leading != self._leading:
            self._leading = leading
            log.info("%s", "driving the rollouts" if leading else "another process drives the rollouts")
        if not leading:
            return []
        changed = (self._drive(one) for one in self._registry.wanted() if one.state == "running")
        return [one for one in changed if one is not None]

    def run(self, stop: threading.Event) -> None:
        """Take turns until `stop` is set; a catalog that is away is waited for."""
        while not stop.is_set():
            try:
                self.turn()
            except RegistryUnavailable as error:
                log.warning("the catalog is away; rollouts wait: %s", error.message)
            stop.wait(self._interval_s)
        if self._leading:
            try:
                self._registry.release_lease(LEASE, self._holder)
            except RegistryUnavailable:
                log.info("the lease was not given back; it runs out by itself")

    def _drive(self, release: Release) -> Release | None:
        verdict = assess(self._registry, release, self._clock())
        move = decide(release, verdict, self._holder)
        if move is None:
            return None
        try:
            done = apply(self._registry, release, move)
        except ConflictError:
            log.info("release %d of %s was changed meanwhile", release.number, release.name)
            return None
        log.info("%s: %s %s: %s", release.name, move.event.kind, move.event.to, move.event.reason)
        return done


def _evidence(verdict: Verdict | None) -> dict[str, object]:
    return dict(verdict.numbers) if verdict is not None else {}


def _ended(release: Release) -> UsageError:
    where = f"release {release.number} of `{release.name}`"
    return UsageError(where, expected="a candidate on its way", found=f"state `{release.state}`")
