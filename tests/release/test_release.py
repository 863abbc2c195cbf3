"""What follows from what in a release: states, steps, weights, the chain of events, the split of traffic."""

from __future__ import annotations

import itertools
import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.errors import InvalidSetting, UsageError
from lading.release import (
    NO_HASH,
    Event,
    EventDraft,
    Plan,
    Release,
    begin,
    changed,
    link,
    rollback_target,
    split,
    verify_chain,
)
from lading.traffic import LATENCY_BOUNDS_S, Window

AT = "2026-11-20T08:00:00.000Z"
LATER = "2026-11-20T08:01:00.000Z"
CANARY = Plan(mode="canary", steps=(5, 25, 100))


def released(version: int, plan: Plan | None = None, before: Release | None = None) -> Release:
    given = plan or Plan(mode="live")
    return begin(before, "iris", version, given, actor="ann", at=AT, runtime="0123456789ab")


def canary() -> Release:
    return released(2, CANARY, released(1))


def chain(count: int, name: str = "iris") -> list[Event]:
    events: list[Event] = []
    release = msgspec.structs.replace(canary(), name=name)
    for number in range(count):
        draft = EventDraft(kind="step", actor="driver", reason=f"{number}", evidence={"p": 0.1 + 0.2})
        events.append(link(events[-1] if events else None, release, draft, at=AT, digest="sha256:1"))
    return events


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
def test_a_change_to_what_cannot_be_is_refused(changes, words):
    with pytest.raises(UsageError) as caught:
        changed(canary(), changes, LATER)
    assert words in str(caught.value)


def test_only_what_has_a_candidate_or_replaced_something_can_be_refused():
    first = released(1)
    assert not first.can_be_refused, "there is nothing to go back to"
    second = released(2, before=first)
    assert second.can_be_refused
    assert canary().can_be_refused
    for state in ("rolled_back", "refused"):
        assert not changed(second, {"state": state}, "").can_be_refused


def test_a_rollback_goes_to_what_stood_before():
    first, second = released(1), canary()
    assert rollback_target([]) is None
    assert rollback_target([first]) is None
    assert rollback_target([second, first]) == 1
    promoted = changed(second, {"state": "live"}, LATER)
    assert rollback_target([promoted, first]) == 1
    back = released(1, before=promoted)
    assert rollback_target([back, promoted, first]) == 2
    failed = changed(released(3, CANARY, promoted), {"state": "rolled_back"}, LATER)
    assert rollback_target([failed, promoted, first]) == 1


def test_a_whole_chain_verifies_also_when_models_are_mixed():
    one, other = chain(5), chain(3, "wine")
    mixed = [event for pair in itertools.zip_longest(one, other) for event in pair if event is not None]
    assert one[0].previous == NO_HASH
    assert verify_chain([]) is verify_chain(one) is verify_chain(mixed) is None


def test_an_event_is_the_same_after_json():
    event = link(
        None,
        canary(),
        EventDraft(kind="step", actor="d", evidence={"n": (1, 2), "nan": math.nan, "x": 1e-300, "i": 2**60}),
        at=AT,
        digest="sha256:1",
    )
    assert event.evidence == {"n": [1, 2], "nan": None, "x": 1e-300, "i": 2**60}
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
    assert b'"from":' in msgspec.json.encode(event)


@pytest.mark.parametrize("field", [name for name in Event.__struct_fields__ if name != "name"])
def test_a_change_of_any_field_is_found_at_its_event(field):
    events = chain(6)
    value = getattr(events[3], field)
    other = value + 1 if isinstance(value, int) else {"p": 0.3} if field == "evidence" else f"{value}?"
    if field == "kind":
        other = "promoted"
    events[3] = msgspec.structs.replace(events[3], **{field: other})
    assert verify_chain(events) is events[3]


@given(st.data())
def test_what_is_left_out_doubled_or_moved_is_found(data):
    events = chain(data.draw(st.integers(2, 8)))
    broken = list(events)
    at = data.draw(st.integers(0, len(events) - 2))
    change = data.draw(st.sampled_from(["left out", "doubled", "swapped"]))
    if change == "left out":
        del broken[at]
    elif change == "doubled":
        broken.insert(at, broken[at])
    else:
        broken[at], broken[at + 1] = broken[at + 1], broken[at]
    assert verify_chain(broken) is not None


@given(st.binary(max_size=40), st.floats(0, 100), st.floats(0, 100))
def test_a_key_stays_with_the_candidate_while_its_weight_grows(key, one, other):
    low, high = sorted((one, other))
    sides = [split(key, "iris", weight, lambda: 1 / 0) for weight in (low, high)]
    assert sides != ["candidate", "live"]
    assert split(key, "iris", low, lambda: 1 / 0) == sides[0]


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
    found = sum(split(key, "iris", weight, draw) == "candidate" for key in keys)
    # 2.58 standard deviations: the binomial 99 % interval.
    assert abs(found - count * weight / 100) <= 2.58 * math.sqrt(count * weight / 100 * (1 - weight / 100))


def test_names_and_keys_do_not_run_together():
    weights = range(1, 100)
    assert [split(b"bc", "a", weight, random.random) for weight in weights] != [
        split(b"c", "ab", weight, random.random) for weight in weights
    ]


def test_latency_bins_are_even_and_cover_all():
    assert (LATENCY_BOUNDS_S[0], LATENCY_BOUNDS_S[-1], len(LATENCY_BOUNDS_S)) == (50e-6, 60.0, 40)
    ratios = [high / low for low, high in itertools.pairwise(LATENCY_BOUNDS_S)]
    assert 1.42 < min(ratios) < max(ratios) < 1.45


def test_every_window_has_an_id_of_its_own():
    fields = {
        "name": "iris",
        "release": 1,
        "version": 1,
        "digest": "",
        "replica": "a",
        "at": 0.0,
        "seconds": 1.0,
    }
    assert Window(**fields).id != Window(**fields).id
