"""The verdict on a candidate, from windows as servers write them."""

from __future__ import annotations

import time

import msgspec
import pytest

from lading.errors import InvalidSetting
from lading.release import Plan
from lading.verdict import judge
from support.live_windows import CANARY, LIVE, SHADOW, START, verdict, windows


def test_an_equal_candidate_is_promoted_with_every_gate_proved():
    result = verdict(windows(2, 50))
    assert result.action == "promote"
    assert len(result.reasons) == 6
    assert all("certain beyond 95 %" in reason for reason in result.reasons[:5])
    assert result.numbers["max_error_increase.proof"] >= 1
    assert result.numbers["candidate.requests"] == sum(window.requests for window in windows(2, 50))


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"error": 0.03}, "errors: candidate "),
        ({"slowdown": 2.0}, "latency p99: candidate "),
        ({"outputs": (0.3, 0.3, 0.4)}, "outputs: distance 0."),
        ({"accuracy": 0.75}, "accuracy: candidate 7"),
    ],
)
def test_a_candidate_that_is_worse_in_one_way_is_rolled_back_for_it(bad, word):
    result = verdict(windows(2, 50, **bad))
    assert result.action == "roll_back"
    assert result.reasons[0].startswith(word)
    assert "harm is certain beyond 95 % (e-value " in result.reasons[0]
    assert all("harm is certain" in reason for reason in result.reasons)


def test_a_candidate_whose_requests_all_fail_is_rolled_back_within_seconds():
    assert verdict(windows(2, 50, error=1.0, seconds=5), age=5).action == "roll_back"


def test_a_step_is_held_for_its_time_and_its_requests():
    few = windows(2, 50, seconds=20)
    result = verdict(few, age=20)
    assert result.action == "hold"
    assert result.reasons[0] == "not enough yet: 20 s of the 30 s that the step is held"
    plan = msgspec.structs.replace(CANARY, min_requests=100_000)
    result = verdict(windows(2, 50), plan=plan)
    assert result.action == "hold"
    assert result.reasons[0].endswith("of 100,000 requests to the candidate")


def test_a_gate_that_is_not_proved_holds_and_says_how_much_is_missing():
    result = verdict(windows(2, 10, seconds=60), age=60)
    assert result.action == "hold"
    assert "% of the evidence that the limit is kept" in result.reasons[1]
    assert any("more to go" in reason for reason in result.reasons)


def test_a_step_that_has_just_begun_is_held():
    result = judge({}, LIVE, [], START + 200, START + 200, CANARY)
    assert result.action == "hold"
    assert "live unknown of 0" in " ".join(result.reasons)


def test_a_candidate_without_traffic_is_rolled_back_after_the_timeout():
    plan = msgspec.structs.replace(CANARY, no_traffic_timeout_s=600)
    assert verdict([], plan=plan, age=599).action == "hold"
    result = verdict([], plan=plan, age=600)
    assert result.action == "roll_back"
    assert result.reasons[0].startswith("no traffic: no request to the candidate for 600 s")
    few = windows(2, 1, seconds=100)
    assert verdict(few, plan=plan, age=650).action == "hold"
    assert verdict(few, plan=plan, age=700).action == "roll_back"


def test_windows_of_earlier_steps_do_not_count():
    failing = windows(2, 50, error=1.0, start=START - 120)
    assert verdict([*failing, *windows(2, 50)]).action == "promote"


def test_several_replicas_are_summed_by_the_second():
    halves = [windows(2, 25, seed=seed) for seed in (1, 2)]
    both = [window for pair in zip(*halves, strict=True) for window in pair]
    result = verdict(both)
    assert result.action == "promote"
    assert result == verdict(list(reversed(both)))


def test_without_feedback_accuracy_needs_no_proof_unless_stated():
    silent = windows(2, 50, rated=0.0)
    assert verdict(silent).action == "promote"
    result = verdict(silent, gates={"max_accuracy_drop": 0.02})
    assert result.action == "hold"
    assert result.reasons[0].startswith("accuracy: candidate unknown of 0, live 9")


def test_without_outputs_a_candidate_is_held_unless_their_gate_is_off():
    live, candidate = (
        [msgspec.structs.replace(window, outputs={}) for window in side] for side in (LIVE, windows(2, 50))
    )
    result = verdict(candidate, live=live)
    assert result.action == "hold"
    assert "outputs: distance unknown of 0" in result.reasons[0]
    assert verdict(candidate, live=live, gates={"max_output_shift": 1.0}).action == "promote"


def test_a_gate_without_evidence_is_said_to_have_none():
    silent = verdict(windows(2, 50, rated=0.0))
    assert silent.action == "promote"
    assert silent.unknown == ("max_accuracy_drop",)
    assert silent.reasons[-1].startswith("accuracy: candidate unknown of 0")
    assert silent.reasons[-1].endswith("; no evidence")


def test_a_gate_that_is_off_is_not_judged():
    result = verdict(windows(2, 50, outputs=(0.1, 0.1, 0.8)), gates={"max_output_shift": 1.0})
    assert result.action == "promote"
    assert not any("outputs" in reason for reason in result.reasons)


def test_an_unknown_gate_is_refused():
    with pytest.raises(InvalidSetting, match="max_eror_increase"):
        verdict([], gates={"max_eror_increase": 0.1})


@pytest.mark.parametrize("agreement", [0.0, 1 / 3])
def test_a_canary_that_answers_the_same_labels_for_other_rows_is_rolled_back(agreement):
    result = verdict(windows(2, 50, same=agreement))
    assert result.action == "roll_back"
    assert result.reasons[0].startswith("agreement: ")
    assert "requests that both answered" in result.reasons[0]


def test_a_canary_that_often_answers_otherwise_is_neither_promoted_nor_rolled_back():
    result = verdict(windows(2, 50, same=0.8))
    assert result.action == "hold"
    assert "(limit 0.9, harmful below 0.5)" in result.reasons[0]
    assert verdict(windows(2, 50, same=0.8), gates={"min_agreement": 0.7}).action == "promote"
    assert verdict(windows(2, 50, same=0.8), gates={"min_agreement": 0.9}).action == "roll_back"


def test_a_canary_is_not_promoted_while_nobody_has_compared_its_answers():
    result = verdict(windows(2, 50, pairs=0))
    assert result.action == "hold"
    assert "agreement: unknown of 0" in result.reasons[0]
    assert "`min_agreement = false` under `[live]` leaves this check out" in result.reasons[0]
    assert result.unknown == ("min_agreement",)
    assert verdict(windows(2, 50, pairs=0), gates={"min_agreement": 0.0}).action == "promote"


def test_equal_numbers_are_shown_and_judged_only_where_they_are_asked_for():
    candidate = windows(2, 50)  # Labels agree, and no copy in every number.
    assert verdict(candidate).action == "promote"
    result = verdict(candidate, gates={"min_value_agreement": 0.5})
    assert result.action == "roll_back"
    assert result.reasons[0].startswith("agreement in every number: 0 % of ")


def test_a_shadow_is_promoted_or_rolled_back_by_its_agreement():
    good = verdict(windows(2, 50, agreement=0.97), plan=SHADOW)
    assert good.action == "promote"
    assert not any("latency" in reason for reason in good.reasons)
    assert verdict(windows(2, 50, agreement=0.8), plan=SHADOW).action == "hold"
    bad = verdict(windows(2, 50, agreement=0.3), plan=SHADOW)
    assert bad.action == "roll_back"
    assert bad.reasons[0].startswith("agreement: ")


LAST = Plan(mode="canary", steps=(20, 100), hold_s=30, min_requests=500)


BEFORE = windows(1, 200, start=START - 120)


def test_at_100_percent_a_candidate_as_good_as_live_before_is_promoted():
    result = verdict(windows(2, 250), live=BEFORE, plan=LAST)
    assert result.action == "promote"
    assert "before this step" in result.reasons[0]


def test_a_step_of_100_percent_that_is_the_first_is_held_because_nothing_was_proved_before_it():
    at_once = Plan(mode="canary", steps=(100,), hold_s=30, min_requests=500)
    result = verdict(windows(2, 250), live=BEFORE, plan=at_once)
    assert result.action == "hold"
    assert any("begin with a smaller share" in reason for reason in result.reasons)


def test_a_check_that_sees_nothing_at_100_percent_does_not_let_a_candidate_pass():
    blind = [msgspec.structs.replace(window, outputs={}) for window in windows(2, 250)]
    assert verdict(blind, live=BEFORE, plan=LAST).action == "hold"


@pytest.mark.alone
def test_an_hour_is_judged_in_a_few_hundredths_of_a_second():
    live, candidate = windows(1, 40, seconds=1800), windows(2, 40, seconds=1800)
    took, adding = [], []
    for _ in range(5):
        began = time.process_time()
        verdict(candidate, live=live, age=1800)
        took.append(time.process_time() - began)
        began = time.process_time()
        sum(range(1_000_000))
        adding.append(time.process_time() - began)
    # Machines differ: to add up a million numbers takes 0.01 to 0.04 s.
    assert min(took) < max(0.06, 2 * min(adding))
