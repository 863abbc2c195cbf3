"""What follows from a verdict or a person's wish: at most one change, with its event."""

from __future__ import annotations

import pytest

from lading.errors import UsageError
from lading.release import Plan, Release
from lading.rollout import decide, paused, promoted, resumed, rolled_back
from lading.verdict import Verdict

STEPS = (5, 25, 100)


def release(mode: str = "canary", step: int = 0, state: str = "running") -> Release:
    plan = Plan(mode=mode, steps=STEPS if mode == "canary" else ())
    is_open = state in ("running", "paused")
    return Release(
        name="iris",
        number=2,
        live=1,
        candidate=2 if is_open else None,
        plan=plan,
        step=step,
        weight_percent=float(plan.steps[step]) if is_open else 0.0,
        state=state,
        reason="",
        actor="ada",
        runtime=None,
        replaces=1,
        created_at="2026-11-20T08:00:00Z",
        changed_at="2026-11-20T08:00:00Z",
        step_started_at="2026-11-20T08:00:00Z",
        epoch=1,
    )


def verdict(action: str) -> Verdict:
    return Verdict(action, ("a reason",), {"candidate.requests": 1200.0})


@pytest.mark.parametrize(
    ("action", "mode", "step", "state", "kind"),
    [
        ("hold", "canary", 0, "running", None),
        ("hold", "shadow", 0, "running", None),
        ("promote", "canary", 0, "running", "step"),
        ("promote", "canary", 1, "running", "step"),
        ("promote", "canary", 2, "running", "promoted"),
        ("promote", "shadow", 0, "running", None),
        ("promote", "ab", 0, "running", None),
        ("roll_back", "canary", 0, "running", "rolled_back"),
        ("roll_back", "canary", 2, "running", "rolled_back"),
        ("roll_back", "shadow", 0, "running", "rolled_back"),
        ("roll_back", "ab", 0, "running", "rolled_back"),
        ("promote", "canary", 0, "paused", None),
        ("roll_back", "canary", 0, "paused", None),
        ("promote", "canary", 2, "live", None),
        ("roll_back", "canary", 0, "rolled_back", None),
        ("promote", "canary", 0, "superseded", None),
        ("promote", "canary", 0, "refused", None),
    ],
)
def test_a_verdict_leads_to_at_most_one_move(action, mode, step, state, kind):
    move = decide(release(mode, step, state), verdict(action), "driver")
    assert (move.event.kind if move is not None else None) == kind


def test_a_step_leads_to_the_next_weight_and_carries_the_verdict():
    move = decide(release(step=0), verdict("promote"), "driver")
    assert move.changes == {"step": 1, "state": "running"}
    assert (move.event.from_, move.event.to, move.event.actor) == ("5 %", "25 %", "driver")
    assert move.event.reason == "no harm seen in 1,200 requests"
    assert move.event.evidence == {"reasons": ["a reason"], "candidate.requests": 1200.0}


def test_a_rollback_carries_the_reason():
    move = decide(release(step=1), verdict("roll_back"), "driver")
    assert move.changes == {"state": "rolled_back", "reason": "a reason"}
    assert (move.event.from_, move.event.to) == ("2", "1")


@pytest.mark.parametrize("mode", ["shadow", "ab"])
def test_people_can_promote_a_shadow_or_an_ab_test_to_live(mode):
    assert promoted(release(mode), "ada", "").changes["state"] == "live"


@pytest.mark.parametrize(
    ("move", "state"),
    [
        (promoted, "live"),
        (promoted, "rolled_back"),
        (rolled_back, "superseded"),
        (paused, "paused"),
        (paused, "live"),
        (resumed, "running"),
        (resumed, "refused"),
    ],
)
def test_a_move_that_the_state_does_not_allow_is_refused_naming_the_state(move, state):
    with pytest.raises(UsageError, match=f"found state `{state}`"):
        move(release(state=state), "ada", "")


def test_promoting_a_paused_release_resumes_it_at_the_next_step():
    assert promoted(release(state="paused"), "ada", "").changes == {"step": 1, "state": "running"}
