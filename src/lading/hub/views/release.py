"""The current release of a model: both sides in numbers, and the verdict so far with its reasons."""

from __future__ import annotations

import msgspec

from lading.release import Release
from lading.rollout.snapshot import SideStats, Snapshot
from lading.verdict.reasons import Weight, weight_of


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
    outputs: list[tuple[str, float | None, float | None]]


def release_page(snapshot: Snapshot) -> ReleasePage:
    """Return the page of a release."""
    verdict = snapshot.verdict
    return ReleasePage(
        release=snapshot.release,
        live=snapshot.live,
        candidate=snapshot.candidate,
        age_s=snapshot.step_age_s,
        action=verdict.action if verdict is not None else "",
        reasons=[Reason(text, weight_of(text)) for text in verdict.reasons] if verdict is not None else [],
        driver=snapshot.driver or "",
        servers=snapshot.servers,
        agreed=snapshot.shadow.agreed,
        differed=snapshot.shadow.differed + snapshot.shadow.failed,
        dropped=snapshot.shadow.dropped,
        outputs=snapshot.frequent_outputs(),
    )
