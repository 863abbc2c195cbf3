"""The page that releases a version: how it goes live, and what that would replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from lading.evidence import Evidence
from lading.hub.views.act import Seen, moves_since
from lading.hub.views.tables import one_of
from lading.registry.records import ModelVersion
from lading.release import Event, Mode, Plan, Release
from lading.release.plan_text import read_duration, read_steps
from lading.rollout.begin_by_hand import Wish

MODES_OF_FORM: Sequence[Mode] = ("canary", "shadow", "live")
"""An A/B test ends when somebody decides, and needs more than a form has room for."""

USUAL_STEPS = ",".join(str(step) for step in Plan(mode="canary").steps)
USUAL_HOLD = f"{Plan(mode='canary').hold_s:.0f}s"


class BeginPage(msgspec.Struct, frozen=True, kw_only=True):
    """A version to be released; ``release`` is the current one, or None if there never was any.

    ``proofs`` is how many runtimes it holds on; ``meanwhile`` what happened since the page that led here.
    """

    version: ModelVersion
    release: Release | None
    seen: Seen
    proofs: int
    meanwhile: list[Event]


def begin_page(
    version: ModelVersion,
    evidence: Sequence[Evidence],
    release: Release | None,
    events: Sequence[Event],
    before: Seen | None,
) -> BeginPage:
    """Return the page of a version that is to be released; `events` are the last, newest first."""
    # A model that was never released has the number 0, and no change to be overtaken by.
    newest = events[0].seq if events else 0
    number, epoch = (release.number, release.epoch) if release is not None else (0, 0)
    return BeginPage(
        version=version,
        release=release,
        seen=Seen(release=number, change=epoch, event=newest),
        proofs=sum(each.holds for each in evidence),
        meanwhile=moves_since(events, before.event if before is not None else newest),
    )


def begin_wish(version: ModelVersion, fields: Mapping[str, str], *, actor: str, reason: str) -> Wish:
    """Return what the fields of a form wish for. Raises `UsageError`."""
    # Fields of a canary are sent with every mode, because without scripts a form cannot hide them.
    mode = fields.get("mode", "")
    one_of("`mode`", mode, MODES_OF_FORM)
    if mode != "canary":
        plan = Plan(mode="shadow" if mode == "shadow" else "live")
    else:
        steps, hold_s = read_steps(fields.get("steps", "")), read_duration(fields.get("hold", ""))
        plan = Plan(mode="canary", steps=steps, hold_s=hold_s)
    return Wish(version, plan, actor, reason)
