"""Verdicts by caller: nobody alone has a candidate rolled back, and a bad one is rolled back as before."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from lading.traffic import FeedbackCounts, Part, ShadowCounts, Window
from lading.verdict import Verdict, judge
from support.live_windows import CANARY, START, windows

BAD: dict[str, dict[str, Any]] = {
    "max_error_increase": {"error": 0.9},
    "max_latency_p99_ratio": {"slowdown": 30.0},
    "max_latency_p50_ratio": {"slowdown": 30.0},
    "max_output_shift": {"outputs": (0.0, 0.0, 1.0)},
    "min_agreement": {"same": 0.0, "pairs": 60},
    "max_accuracy_drop": {"accuracy": 0.0, "rated": 1.0},
}
"""What a caller sends to make a candidate look bad, or how a bad candidate fares with all callers."""


def of_callers(version: int, rates: dict[int, float], **bad: dict[str, Any]) -> list[Window]:
    """Draw the windows of callers in some groups, at so many requests a second; `bad` is by ``group_N``."""
    drawn = {
        group: windows(version, rate, seed=group, **{"pairs": 3, **bad.get(f"group_{group}", {})})
        for group, rate in rates.items()
    }
    return [joined(dict(zip(drawn, second, strict=True))) for second in zip(*drawn.values(), strict=True)]


def joined(by_group: dict[int, Window]) -> Window:
    """Make one window of those of each group, as a server does."""
    first = next(iter(by_group.values()))
    parts = tuple(
        Part(
            group=group,
            requests=window.requests,
            errors=window.errors,
            latency=tuple((at, count) for at, count in enumerate(window.latency) if count),
            outputs=window.outputs,
            shadow=window.shadow,
            feedback=window.feedback,
        )
        for group, window in by_group.items()
    )
    return msgspec.structs.replace(
        first,
        requests=sum(part.requests for part in parts),
        errors=dict(sum((Counter(part.errors) for part in parts), Counter())),
        latency=tuple(sum(counts) for counts in zip(*(w.latency for w in by_group.values()), strict=True)),
        outputs=dict(sum((Counter(part.outputs) for part in parts), Counter())),
        shadow=ShadowCounts(
            agreed=sum(part.shadow.agreed for part in parts),
            differed=sum(part.shadow.differed for part in parts),
        ),
        feedback=FeedbackCounts(
            right=sum(part.feedback.right for part in parts),
            wrong=sum(part.feedback.wrong for part in parts),
        ),
        parts=parts,
    )


GOOD = dict.fromkeys(range(8), 25.0)
LIVE = of_callers(1, GOOD)


def verdict(candidate: list[Window], live: list[Window] = LIVE, age: float = 120) -> Verdict:
    return judge({}, live, candidate, START + age, START, CANARY)


@pytest.mark.parametrize("gate", BAD)
def test_one_caller_alone_has_no_candidate_rolled_back(gate):
    candidate = of_callers(2, dict.fromkeys(range(8), 6.0) | {5: 25.0}, group_5=BAD[gate])
    alone = [msgspec.structs.replace(window, parts=()) for window in candidate]
    untold = [msgspec.structs.replace(window, parts=()) for window in LIVE]
    assert verdict(alone, untold).action == "roll_back", "it would, were callers not distinguished"
    result = verdict(candidate)
    assert result.action == "hold"
    assert any("not without one group of callers" in reason for reason in result.reasons)


@pytest.mark.parametrize("gate", BAD)
def test_what_is_bad_for_all_callers_is_rolled_back_in_about_the_time_it_took_before(gate):
    bad = {f"group_{group}": BAD[gate] for group in range(8)}
    candidate = of_callers(2, dict.fromkeys(range(8), 6.0), **bad)
    untold = [[msgspec.structs.replace(w, parts=()) for w in side] for side in (LIVE, candidate)]
    before = next(age for age in range(1, 121) if verdict(untold[1], untold[0], age).action == "roll_back")
    now = next(age for age in range(1, 121) if verdict(candidate, age=age).action == "roll_back")
    assert before <= now <= before + 3


def test_two_callers_in_different_groups_are_not_one():
    candidate = of_callers(
        2, dict.fromkeys(range(8), 6.0), group_2=BAD["max_error_increase"], group_5=BAD["max_error_increase"]
    )
    assert verdict(candidate).action == "roll_back"


def test_a_caller_who_makes_nearly_all_requests_decides_as_before():
    rates = dict.fromkeys(range(8), 0.5) | {4: 200.0}
    candidate = of_callers(2, {group: rate / 4 for group, rate in rates.items()}, group_4={"error": 0.2})
    assert verdict(candidate, of_callers(1, rates)).action == "roll_back"


def test_a_single_gateway_decides_and_the_verdict_says_so():
    candidate = of_callers(2, {3: 50.0}, group_3={"error": 0.2})
    result = verdict(candidate, of_callers(1, {3: 200.0}))
    assert result.action == "roll_back"
    assert "; one caller, or a few, made these requests" in result.reasons[0]


def test_a_window_of_a_server_that_distinguished_no_callers_apart_counts_as_before():
    old = windows(2, 50, error=0.1)
    assert verdict(old).action == "roll_back"
    assert not any("one caller" in reason for reason in verdict(old).reasons)


def test_what_a_caller_showed_holds_a_release_only_while_it_goes_on():
    attack = of_callers(2, dict.fromkeys(range(8), 6.0) | {5: 15.0}, group_5={"error": 0.5})[:20]
    calm = [
        msgspec.structs.replace(window, at=window.at + 20)
        for window in of_callers(2, dict.fromkeys(range(8), 50.0))
    ]
    live = [*LIVE, *(msgspec.structs.replace(window, at=window.at + 120) for window in LIVE[:20])]
    assert verdict([*attack, *calm], live, 20).action == "hold"
    result = verdict([*attack, *calm], live, 140)
    assert not any("one group" in reason for reason in result.reasons)


def test_at_a_hundred_percent_one_caller_rolls_nothing_back_either():
    candidate = [
        msgspec.structs.replace(window, at=window.at + 120)
        for window in of_callers(2, GOOD | {5: 60.0}, group_5=BAD["max_error_increase"])
    ]
    plan = msgspec.structs.replace(CANARY, steps=(20, 100))
    result = judge({}, LIVE, candidate, START + 240, START + 120, plan)
    assert result.action == "hold"
    worse = [
        msgspec.structs.replace(window, at=window.at + 120)
        for window in of_callers(2, GOOD, **{f"group_{at}": {"error": 0.1} for at in range(8)})
    ]
    assert judge({}, LIVE, worse, START + 240, START + 120, plan).action == "roll_back"
