"""The current release of a model: both sides in numbers, and the verdict so far with its reasons."""

from __future__ import annotations

from typing import Literal

import msgspec

from lading.release import Release
from lading.rollout.snapshot import SideStats, Snapshot

Weight = Literal["harm", "pending", "unknown", "fine"]


class Reason(msgspec.Struct, frozen=True):
    """One reason of a verdict, in its words, and how it weighs."""

    text: str
    weight: Weight


class ReleasePage(msgspec.Struct, frozen=True, kw_only=True):
    """The release. ``age_s`` is how long its step has lasted; ``driver`` is empty if no process drives it.

    ``outputs`` has the most frequent answers with the share that live and the candidate gave them.
    """

    release: Release
    live: SideStats | None
    candidate: SideStats | None
    age_s: float
    action: str
    reasons: list[Reason]
    driver: str
    servers: int
    agreed: int
    differed: int
    dropped: int
    outputs: list[tuple[str, float, float]]


_MOST_OUTPUTS = 5


def release_page(snapshot: Snapshot) -> ReleasePage:
    """Return the page of a release."""
    verdict = snapshot.verdict
    return ReleasePage(
        release=snapshot.release,
        live=snapshot.live,
        candidate=snapshot.candidate,
        age_s=snapshot.step_age_s,
        action=verdict.action if verdict is not None else "",
        reasons=[Reason(text, _weight(text)) for text in verdict.reasons] if verdict is not None else [],
        driver=snapshot.driver or "",
        servers=snapshot.servers,
        agreed=snapshot.shadow.agreed,
        differed=snapshot.shadow.differed + snapshot.shadow.failed,
        dropped=snapshot.shadow.dropped,
        outputs=_outputs(snapshot.live, snapshot.candidate),
    )


def _weight(reason: str) -> Weight:
    """Return how a reason weighs: by its words, because a reason of a verdict has no field for it."""
    if "harm is certain" in reason or reason.startswith("no traffic"):
        return "harm"
    if "not enough yet" in reason:
        return "pending"
    return "unknown" if "no evidence" in reason or "not proved" in reason else "fine"


def _outputs(live: SideStats | None, candidate: SideStats | None) -> list[tuple[str, float, float]]:
    sides = [side.outputs if side is not None else {} for side in (live, candidate)]
    # By both sides together: an answer that one of them no longer gives is listed as well.
    totals = {name: sum(side.get(name, 0) for side in sides) for side in sides for name in side}
    names = sorted(totals, key=lambda name: (-totals[name], name))[:_MOST_OUTPUTS]
    return [(name, _share(sides[0], name), _share(sides[1], name)) for name in names]


def _share(outputs: dict[str, int], name: str) -> float:
    return outputs.get(name, 0) / sum(outputs.values()) if outputs else 0.0
