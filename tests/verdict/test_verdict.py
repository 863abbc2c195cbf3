"""The verdict on a candidate, from windows as servers write them."""

from __future__ import annotations

import math
import time

import msgspec
import numpy as np
import pytest

from lading.errors import InvalidSetting
from lading.release import Plan
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window
from lading.verdict import Verdict, judge
from lading.verdict.aggregates import MOST_NAMES, blocks_of, names_of, side_of

START = 1_000_000.0
CANARY = Plan(mode="canary", steps=(20,), hold_s=30, min_requests=500)
SHADOW = Plan(mode="shadow", hold_s=30, min_requests=500)


def windows(
    version: int,
    rate: float,
    *,
    seconds: int = 120,
    start: float = START,
    seed: int = 0,
    error: float = 0.002,
    slowdown: float = 1.0,
    outputs: tuple[float, ...] = (0.5, 0.3, 0.2),
    accuracy: float = 0.9,
    rated: float = 0.5,
    rows: int = 1,
    agreement: float | None = None,
) -> list[Window]:
    """Draw what one replica writes, a window a second."""
    rng = np.random.default_rng([seed, version])
    made = []
    for second in range(seconds):
        n = int(rng.poisson(rate))
        latency = slowdown * 0.003 * np.exp(rng.normal(0, 0.5, n))
        bins = np.bincount(np.searchsorted(LATENCY_BOUNDS_S, latency), minlength=len(LATENCY_BOUNDS_S) + 1)
        errors, feedback = int(rng.binomial(n, error)), int(rng.binomial(n, rated))
        right = int(rng.binomial(feedback, accuracy))
        agreed = 0 if agreement is None else int(rng.binomial(n, agreement))
        labels = zip("abcdefg", rng.multinomial(n, outputs), strict=False)
        made.append(
            Window(
                name="iris",
                release=2,
                version=version,
                digest="sha256:0",
                replica="r1",
                at=start + second,
                seconds=1.0,
                requests=n if agreement is None else 0,
                errors={"RunFailed": errors} if errors and agreement is None else {},
                latency=tuple(bins.tolist()) if agreement is None else (),
                outputs={label: int(count) * rows for label, count in labels if count},
                shadow=ShadowCounts()
                if agreement is None
                else ShadowCounts(agreed=agreed, differed=n - agreed),
                feedback=FeedbackCounts(right=right, wrong=feedback - right),
            )
        )
    return made


LIVE = windows(1, 200)


def verdict(
    candidate: list[Window], *, gates=None, plan: Plan = CANARY, live=LIVE, age: float = 120
) -> Verdict:
    return judge(gates or {}, live, candidate, START + age, START, plan)


def test_an_equal_candidate_is_promoted_with_every_gate_proved():
    found = verdict(windows(2, 50))
    assert found.action == "promote"
    assert len(found.reasons) == 5
    assert all("certain beyond 95 %" in reason for reason in found.reasons[:4])
    assert found.numbers["max_error_increase.proof"] >= 1
    assert found.numbers["candidate.requests"] == sum(one.requests for one in windows(2, 50))


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
    found = verdict(windows(2, 50, **bad))
    assert found.action == "roll_back"
    assert found.reasons[0].startswith(word)
    assert "harm is certain beyond 95 % (e-value " in found.reasons[0]
    assert all("harm is certain" in reason for reason in found.reasons)


def test_reasons_hold_both_sides_in_numbers():
    (reason,) = verdict(windows(2, 50, error=0.03)).reasons
    assert f"of {sum(one.requests for one in LIVE):,}" in reason
    assert "(limit +0.5 points)" in reason
    assert "≥ 100)" in reason  # alpha 0.05 among five gates of one step


def test_more_steps_make_every_conviction_harder():
    plan = msgspec.structs.replace(CANARY, steps=(5, 20, 50))
    assert verdict(windows(2, 50), plan=plan).numbers["max_error_increase.harm_threshold"] == pytest.approx(
        300
    )


def test_a_candidate_whose_requests_all_fail_is_rolled_back_within_seconds():
    assert verdict(windows(2, 50, error=1.0, seconds=5), age=5).action == "roll_back"


def test_one_bad_second_convicts_nobody():
    candidate = windows(2, 50, error=0.0, seconds=60)
    candidate[40] = windows(2, 50, error=1.0, slowdown=100, seconds=41)[40]
    assert verdict(candidate, age=60).action != "roll_back"


def test_a_fault_that_begins_after_an_hour_is_found():
    live = windows(1, 40, seconds=3900)
    good = windows(2, 40, seconds=3600)
    bad = windows(2, 40, seconds=300, start=START + 3600, error=0.3)
    assert verdict(good, live=live, age=3600).action == "promote"
    assert verdict([*good, *bad], live=live, age=3900).action == "roll_back"


def test_a_step_is_held_for_its_time_and_its_requests():
    few = windows(2, 50, seconds=20)
    found = verdict(few, age=20)
    assert found.action == "hold"
    assert found.reasons[0] == "not enough yet: 20 s of the 30 s that the step is held"
    plan = msgspec.structs.replace(CANARY, min_requests=100_000)
    found = verdict(windows(2, 50), plan=plan)
    assert found.action == "hold"
    assert found.reasons[0].endswith("of 100,000 requests to the candidate")


def test_what_is_not_proved_holds_and_says_how_much_is_missing():
    found = verdict(windows(2, 10, seconds=60), age=60)
    assert found.action == "hold"
    assert "% of the evidence that the limit is kept" in found.reasons[1]
    assert any("more to go" in reason for reason in found.reasons)


def test_a_step_just_begun_is_held():
    found = judge({}, LIVE, [], START + 200, START + 200, CANARY)
    assert found.action == "hold"
    assert "live unknown of 0" in " ".join(found.reasons)


def test_a_candidate_without_traffic_is_rolled_back_after_the_time_out():
    plan = msgspec.structs.replace(CANARY, no_traffic_timeout_s=600)
    assert verdict([], plan=plan, age=599).action == "hold"
    found = verdict([], plan=plan, age=600)
    assert found.action == "roll_back"
    assert found.reasons[0].startswith("no traffic: no request to the candidate for 600 s")
    few = windows(2, 1, seconds=100)
    assert verdict(few, plan=plan, age=650).action == "hold"
    assert verdict(few, plan=plan, age=700).action == "roll_back"


def test_windows_of_earlier_steps_do_not_count():
    failing = windows(2, 50, error=1.0, start=START - 120)
    assert verdict([*failing, *windows(2, 50)]).action == "promote"


def test_several_replicas_are_summed_by_the_second():
    halves = [windows(2, 25, seed=seed) for seed in (1, 2)]
    both = [one for pair in zip(*halves, strict=True) for one in pair]
    found = verdict(both)
    assert found.action == "promote"
    assert found == verdict(list(reversed(both)))


def test_without_feedback_accuracy_is_not_asked_for_unless_stated():
    silent = windows(2, 50, rated=0.0)
    assert verdict(silent).action == "promote"
    found = verdict(silent, gates={"max_accuracy_drop": 0.02})
    assert found.action == "hold"
    assert found.reasons[0].startswith("accuracy: candidate unknown of 0, live 9")


def test_without_outputs_their_shift_is_not_asked_for_unless_stated():
    live, candidate = (
        [msgspec.structs.replace(one, outputs={}) for one in side] for side in (LIVE, windows(2, 50))
    )
    assert verdict(candidate, live=live).action == "promote"
    assert verdict(candidate, live=live, gates={"max_output_shift": 0.1}).action == "hold"


def test_a_gate_that_is_off_is_not_judged():
    found = verdict(windows(2, 50, outputs=(0.1, 0.1, 0.8)), gates={"max_output_shift": 1.0})
    assert found.action == "promote"
    assert not any("outputs" in reason for reason in found.reasons)


def test_an_unknown_gate_is_refused():
    with pytest.raises(InvalidSetting, match="max_eror_increase"):
        verdict([], gates={"max_eror_increase": 0.1})


def test_a_shadow_that_agrees_is_promoted_and_one_that_does_not_is_rolled_back():
    good = verdict(windows(2, 50, agreement=0.97), plan=SHADOW)
    assert good.action == "promote"
    assert not any("latency" in reason for reason in good.reasons)
    bad = verdict(windows(2, 50, agreement=0.8), plan=SHADOW)
    assert bad.action == "roll_back"
    assert bad.reasons[0].startswith("agreement: ")


def test_agreement_may_be_counted_on_the_side_of_live():
    copies = windows(2, 50, agreement=0.8)
    moved = [msgspec.structs.replace(one, shadow=copy.shadow) for one, copy in zip(LIVE, copies, strict=True)]
    candidate = [msgspec.structs.replace(one, shadow=ShadowCounts()) for one in copies]
    assert verdict(candidate, live=moved, plan=SHADOW).action == "roll_back"


def test_failed_shadow_copies_are_errors_and_disagreement():
    failing = [
        msgspec.structs.replace(one, shadow=ShadowCounts(agreed=30, failed=20))
        for one in windows(2, 50, agreement=1.0)
    ]
    found = verdict(failing, plan=SHADOW)
    assert found.action == "roll_back"
    assert [reason.split(":")[0] for reason in found.reasons] == ["errors", "agreement"]


LAST = Plan(mode="canary", steps=(20, 100), hold_s=30, min_requests=500)
BEFORE = windows(1, 200, start=START - 120)


def test_at_a_hundred_percent_a_candidate_as_good_as_live_was_is_promoted():
    found = verdict(windows(2, 250), live=BEFORE, plan=LAST)
    assert found.action == "promote"
    assert "before this step" in found.reasons[0]


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"error": 0.03}, "errors: "),
        ({"slowdown": 2.5}, "latency p99: "),
        ({"outputs": (0.2, 0.3, 0.5)}, "outputs: "),
        ({"accuracy": 0.75}, "accuracy: "),
    ],
)
def test_at_a_hundred_percent_harm_is_measured_against_what_live_was(bad, word):
    found = verdict(windows(2, 250, **bad), live=BEFORE, plan=LAST)
    assert found.action == "roll_back"
    assert found.reasons[0].startswith(word)


def test_rows_of_one_request_weigh_as_much_as_one_request():
    batches = windows(1, 200, rows=50)
    side = side_of(batches, np.array([one.at for one in batches]), names_of(batches))
    assert side.outputs.sum() == pytest.approx(side.requests.sum())


def test_labels_beyond_the_limit_count_as_one():
    many = [
        msgspec.structs.replace(
            LIVE[0], outputs={str(label): label + 1 for label in range(100)}, requests=5050
        )
    ]
    names = names_of(many)
    assert len(names) == MOST_NAMES
    assert names[0] == "99"
    counted = side_of(many, np.array([many[0].at]), names).outputs[0, 0]
    assert counted[-1] == sum(range(1, 70))


def test_blocks_have_enough_of_both_sides_and_grow_with_age():
    steady = np.full((1, 5000), 10.0)
    sparse = np.zeros((1, 5000))
    sparse[0, ::3] = 1.0
    edges = blocks_of([steady, sparse], np.arange(5000.0)).edges[0]
    assert np.diff(edges).min() >= 13  # five in every third second
    alone = np.diff(blocks_of([steady], np.arange(5000.0)).edges[0])
    assert alone[0] == 1
    assert 48 <= alone[-1] <= 50  # what is left over waits


def test_nothing_in_a_verdict_is_out_of_the_range_of_json():
    found = verdict(windows(2, 50, error=0.5))
    assert all(math.isfinite(value) for value in found.numbers.values())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Verdict) == found


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
