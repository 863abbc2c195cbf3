"""The current release of a model: both sides in numbers, and the verdict so far with its reasons."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lading.hub.spreadsheet import Cell
from lading.hub.views.act import Act, next_step, possible_acts
from lading.release import Event, Release
from lading.rollout.snapshot import SideStats, Snapshot
from lading.verdict import GatePath
from lading.verdict.paths import thinned
from lading.verdict.reasons import Weight, weight_of

POINTS_SHOWN = 80
"""So many points of each path are on a page; the table as CSV has all of them."""

EVIDENCE_COLUMNS = ("gate", "at", "e_value", "threshold", "harm", "kept")


class Reason(msgspec.Struct, frozen=True):
    """One reason of a verdict, in its words, and how it weighs."""

    text: str
    weight: Weight


class ReleasePage(msgspec.Struct, frozen=True, kw_only=True):
    """The release. ``age_s`` is how long its step has lasted; ``driver`` is empty if no process drives it.

    ``outputs`` has the most frequent answers with the share that live and the candidate gave them. ``acts``
    is what a person may do to it as it stands, and ``next_step`` where a promotion leads. ``events`` are its
    last ones, newest first, and ``last_event`` is the position of the model's newest. ``paths`` are how the
    evidence of each gate came to be what it is in this step, and ``unseen`` the gates that have none yet.
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
    acts: list[Act]
    next_step: str
    events: list[Event]
    last_event: int
    paths: list[GatePath]
    unseen: list[str]


def release_page(snapshot: Snapshot, paths: Sequence[GatePath], events: Sequence[Event]) -> ReleasePage:
    """Return the page of a release; `events` are the last of its model, newest first."""
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
        acts=possible_acts(snapshot.release),
        next_step=next_step(snapshot.release),
        events=[event for event in events if event.number == snapshot.release.number],
        last_event=events[0].seq if events else 0,
        paths=[thinned(path, POINTS_SHOWN) for path in paths if path.points],
        unseen=[path.gate for path in paths if not path.points],
    )


def evidence_table(paths: Sequence[GatePath]) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    """Return the header and the rows of a table of all points, oldest first for each gate."""
    return EVIDENCE_COLUMNS, [
        (path.gate, point.at, point.e_value, path.threshold, point.harm, point.kept)
        for path in paths
        for point in path.points
    ]
