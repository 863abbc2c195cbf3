"""What follows from what in a release: states, steps, weights, the chain of events, the split of traffic."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import InvalidSetting, UsageError
from lading.release import (
    Plan,
    changed,
    split,
)
from support.releases import AT, CANARY, LATER, canary, released


def test_a_first_release_is_live_at_once():
    first = released(1)
    assert (first.number, first.live, first.candidate, first.state) == (1, 1, None, "live")
    assert (first.weight_percent, first.replaces, first.epoch) == (0.0, None, 1)


def test_a_canary_begins_at_its_first_step_beside_the_live_version():
    release = canary()
    assert (release.number, release.live, release.candidate) == (2, 1, 2)
    assert (release.state, release.step, release.weight_percent) == ("running", 0, 5.0)


def test_a_candidate_beside_nothing_or_beside_itself_is_refused():
    with pytest.raises(UsageError, match="expected a live version beside it, found none"):
        released(1, CANARY)
    with pytest.raises(UsageError, match="another version than the live one"):
        released(1, CANARY, released(1))


@pytest.mark.parametrize(
    ("mode", "steps"),
    [("live", (100,)), ("shadow", (0,)), ("canary", (5, 25, 50, 100)), ("ab", (50,))],
)
def test_a_plan_without_steps_has_the_usual_ones_of_its_mode(mode, steps):
    plan = Plan(mode=mode)
    assert plan.steps == steps
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mode": "blue"}, "one of `live`, `shadow`, `canary`, `ab`"),
        ({"mode": "canary", "steps": (25, 5)}, "each above the one before"),
        ({"mode": "canary", "steps": (5, 5)}, "each above the one before"),
        ({"mode": "canary", "steps": (5, 101)}, "from 0 to 100"),
        ({"mode": "canary", "steps": (-1,)}, "from 0 to 100"),
        ({"mode": "ab", "steps": (10, 20)}, "one step in mode `ab`"),
        ({"mode": "shadow", "steps": (10,)}, "0 in mode `shadow`"),
        ({"mode": "live", "hold_s": -1.0}, "`hold_s` of a release: expected at least 0"),
        ({"mode": "live", "hold_s": math.nan}, "`hold_s` of a release: expected at least 0"),
        ({"mode": "live", "min_requests": -5}, "`min_requests`"),
    ],
)
def test_an_impossible_plan_is_refused(fields, words):
    with pytest.raises(InvalidSetting) as caught:
        Plan(**fields)
    assert words in str(caught.value)


def test_a_step_brings_its_weight_and_the_time_of_its_beginning():
    stepped = changed(canary(), {"step": 1}, LATER)
    assert (stepped.step, stepped.weight_percent, stepped.step_started_at) == (1, 25.0, LATER)
    assert (stepped.epoch, stepped.changed_at, stepped.created_at) == (2, LATER, AT)
    paused = changed(stepped, {"state": "paused", "reason": "to look"}, "2026-11-20T08:02:00.000Z")
    assert (paused.state, paused.weight_percent, paused.step_started_at) == ("paused", 25.0, LATER)


def test_no_step_is_skipped():
    with pytest.raises(UsageError, match="none is skipped"):
        changed(canary(), {"step": 2}, LATER)
    last = changed(changed(canary(), {"step": 1}, LATER), {"step": 2}, LATER)
    for step in (3, -1):
        with pytest.raises(UsageError, match="step: expected at most 2"):
            changed(last, {"step": step}, LATER)


@pytest.mark.parametrize(("state", "live"), [("live", 2), ("rolled_back", 1), ("refused", 1)])
def test_an_end_leaves_one_version_and_no_candidate(state, live):
    done = changed(canary(), {"state": state}, LATER)
    assert (done.state, done.live, done.candidate, done.weight_percent) == (state, live, None, 0.0)
    with pytest.raises(UsageError, match="one that is not ended"):
        changed(done, {"state": "running", "candidate": 2}, LATER)


@pytest.mark.parametrize("state", ["refused", "rolled_back"])
def test_a_release_that_went_live_at_once_can_be_taken_back(state):
    second = released(2, before=released(1))
    taken = changed(second, {"state": state, "reason": "does not load"}, LATER)
    assert (taken.live, taken.state, taken.reason) == (1, state, "does not load")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"candidate": None}, "expected a candidate"),
        ({"state": "live", "candidate": 3}, "expected no candidate"),
        ({"weight_percent": 101.0}, "0 to 100"),
        ({"weight_percent": math.nan}, "0 to 100"),
        ({"state": "done"}, "one of `running`"),
    ],
)
def test_an_impossible_change_is_refused(changes, words):
    with pytest.raises(UsageError) as caught:
        changed(canary(), changes, LATER)
    assert words in str(caught.value)


def test_a_release_can_be_refused_if_it_has_a_candidate_or_replaced_a_version():
    first = released(1)
    assert not first.can_be_refused, "there is nothing to go back to"
    second = released(2, before=first)
    assert second.can_be_refused
    assert canary().can_be_refused
    for state in ("rolled_back", "refused"):
        assert not changed(second, {"state": state}, "").can_be_refused


@pytest.mark.slow
@given(st.binary(max_size=40), st.floats(0, 100), st.floats(0, 100))
def test_a_key_stays_with_the_candidate_while_its_weight_grows(key, first, second):
    low, high = sorted((first, second))
    sides = [split(key, "iris", weight, lambda: 1 / 0) for weight in (low, high)]
    assert sides != ["candidate", "live"]
    assert split(key, "iris", low, lambda: 1 / 0) == sides[0]


def test_the_salt_of_a_release_decides_which_side_a_key_has():
    keys = [f"user-{number}".encode() for number in range(2000)]
    sides = [[split(key, "iris", 50, lambda: 1 / 0, salt) for key in keys] for salt in ("", "a1", "b2")]
    for first, second in ((0, 1), (0, 2), (1, 2)):  # As independent as two throws of a coin.
        same = sum(left == right for left, right in zip(sides[first], sides[second], strict=True))
        assert abs(same - 1000) < 120


def test_the_split_of_a_key_is_the_one_that_every_replica_has_always_made():
    # Changing these moves callers from side to side in the midst of a release.
    keys = [f"user-{number}".encode() for number in range(16)]
    sides = "".join(split(key, "iris", 50, lambda: 1 / 0)[0] for key in keys)
    assert sides == "clllclclccclclcc"


@pytest.mark.parametrize("weight", [0, 5, 25, 50, 100])
@pytest.mark.parametrize("keyed", [True, False])
def test_shares_are_exact(weight, keyed):
    draw, count = random.Random(7).random, 20_000
    keys = (f"user-{number}".encode() if keyed else None for number in range(count))
    candidates = sum(split(key, "iris", weight, draw) == "candidate" for key in keys)
    # 2.58 standard deviations: the binomial 99 % interval.
    share = weight / 100
    assert abs(candidates - count * share) <= 2.58 * math.sqrt(count * share * (1 - share))


def test_a_name_and_a_key_are_hashed_apart():
    weights = range(1, 100)
    assert [split(b"bc", "a", weight, random.random) for weight in weights] != [
        split(b"c", "ab", weight, random.random) for weight in weights
    ]
