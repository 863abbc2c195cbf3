"""A person releases a version: everything that is checked before, and the release itself.

`lading release` and the hub call it. What it finds out on the way is for people to read; it prints nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.clock import unix_time
from lading.ref import Ref
from lading.registry.releases import check_number
from lading.release import begin
from lading.rollout.by_hand import Prove, check_seen, is_live
from lading.rollout.estimate import PROFILE_S, outlook
from lading.rollout.preflight import check_gates
from lading.rollout.scan_gate import check_scan

if TYPE_CHECKING:
    from lading.bundle.difference import Difference
    from lading.evidence import Evidence
    from lading.gates import Gates
    from lading.registry import ModelVersion, Registry
    from lading.release import Plan, Release
    from lading.rollout.by_hand import Meant
    from lading.rollout.estimate import Forecast


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants: a version, how it goes live, and what may stand in its way."""

    version: ModelVersion
    plan: Plan
    actor: str
    reason: str = ""
    gates: Gates | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A release, and what was found out before; without ``evidence`` nothing was changed.

    ``before`` is the release that was current; ``gates_met`` the names of the gates that hold.
    """

    release: Release
    before: Release | None
    evidence: Evidence | None = None
    gates_met: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    forecast: Forecast | None = None


def begin_by_hand(registry: Registry, wish: Wish, prove: Prove, after: Meant | None = None) -> Begun:
    """Release a version, unless this very release was begun before and is on its way, or live.

    `after` is the release that its author knows as the current one, with the number 0 for none. Raises what
    stands in the way: `StaleRelease`, `UsageError`, `SignatureChanged`, `VerificationError`, `GateNotMet`.
    """
    version, plan = wish.version, wish.plan
    current = registry.releases.current(version.name)
    if after is not None:
        check_number(version.name, current, after.number)
        if current is not None:
            check_seen(current, after)
    if current is not None and _is_done(current, version, plan):
        return Begun(current, current)
    # What the registry would raise, before the proof, which takes seconds; the time does not matter for it.
    begin(current, version.name, version.version, plan, actor=wish.actor, at="", runtime=None)
    # Before anything of it runs: the proof does.
    registry.admission.check("release", version)
    live = _live(registry, version.name, current)
    differences = registry.releases.check.compare(version, live, force=wish.force) if live is not None else ()
    # Before the proof, which takes longer.
    scanned = check_scan(registry, wish.gates, version) if wish.gates is not None else ()
    evidence = prove(version)
    gates_met = check_gates(wish.gates, version, evidence, live) if wish.gates is not None else ()
    # Before anything has changed: what fails here has begun nothing.
    forecast = _forecast(registry, plan, current)
    started = registry.releases.begin(
        version.name,
        version.version,
        plan,
        actor=wish.actor,
        runtime=evidence.fingerprint.id,
        reason=wish.reason,
        # What was judged and compared is what is replaced: proving has taken seconds.
        after=current.number if current is not None else 0,
        force=wish.force,
    )
    return Begun(started, current, evidence, (*gates_met, *scanned), differences, forecast)


def _is_done(current: Release, version: ModelVersion, plan: Plan) -> bool:
    """Return whether this release was begun before: sent once more, it would begin its evidence again."""
    # A plan that went live has ended; one on its way has to be the same in every number.
    if plan.mode == "live":
        return is_live(current, version.version)
    return current.is_open and current.candidate == version.version and current.plan.is_same(plan)


def _live(registry: Registry, name: str, current: Release | None) -> ModelVersion | None:
    if current is None or current.live is None:
        return None
    return registry.resolve(Ref(name, version=current.live))


def _forecast(registry: Registry, plan: Plan, before: Release | None) -> Forecast | None:
    """Return how long a release will take, by the traffic of the one before; None if it is live at once."""
    if before is None or plan.mode == "live":
        return None
    now = registry.fleet.now()
    # The traffic of the last minutes says best what comes next.
    since = max(now - PROFILE_S, unix_time(before.step_started_at))
    windows = registry.traffic.windows(before.name, before.number, since)
    return outlook(plan, [window for window in windows if window.version == before.live], now, since)
