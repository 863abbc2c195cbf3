"""Which side answers: rules, keys and chance."""

from __future__ import annotations

import math
import random

import pytest

from lading.release import HeaderRule, Plan, begin
from lading.server.inference.traffic import KEY_HEADER, Traffic


def traffic(weight: float, rules: tuple[HeaderRule, ...] = (), name: str = "iris") -> Traffic:
    live = begin(None, name, 1, Plan(mode="live"), actor="t", at="", runtime=None)
    plan = Plan(mode="canary", steps=(5, 100), rules=rules)
    release = begin(live, name, 2, plan, actor="t", at="", runtime=None)
    shown = Traffic.of(release)
    return Traffic(shown.name, shown.release, shown.mode, 1, 2, weight, shown.rules)


@pytest.mark.parametrize("weight", [5, 25, 50])
def test_the_share_is_the_one_that_was_asked_for(weight):
    random.seed(7)
    asked, count = traffic(weight), 20_000
    found = sum(asked.side({}, random.random) == "candidate" for _ in range(count))
    sigma = math.sqrt(count * weight / 100 * (1 - weight / 100))
    assert abs(found - count * weight / 100) < 2.58 * sigma


def test_a_key_stays_on_its_side_while_the_weight_grows():
    keys = [f"user-{at}".encode() for at in range(2000)]
    before: set[bytes] = set()
    for weight in (0, 1, 5, 25, 50, 99, 100):
        now = {key for key in keys if traffic(weight).side({KEY_HEADER: key}, random.random) == "candidate"}
        assert before <= now
        before = now
    assert before == set(keys)


def test_a_key_lands_on_the_same_side_wherever_it_is_asked():
    # Pinned: another process, host or version of lading must give the very same.
    sides = [traffic(50).side({KEY_HEADER: f"user-{at}".encode()}, random.random) for at in range(12)]
    again = [traffic(50).side({KEY_HEADER: f"user-{at}".encode()}, lambda: 0.0) for at in range(12)]
    assert sides == again
    assert {"live", "candidate"} == set(sides)


def test_another_model_puts_other_keys_on_the_candidate():
    keys = [f"user-{at}".encode() for at in range(200)]
    one = [traffic(50, name="iris").side({KEY_HEADER: key}, random.random) for key in keys]
    other = [traffic(50, name="wine").side({KEY_HEADER: key}, random.random) for key in keys]
    assert one != other


def test_a_rule_wins_over_key_and_weight():
    rules = (HeaderRule("X-Team", "qa", "candidate"), HeaderRule("x-team", "bank", "live"))
    for weight in (0, 100):
        asked = traffic(weight, rules)
        assert asked.side({b"x-team": b"qa", KEY_HEADER: b"k"}, random.random) == "candidate"
        assert asked.side({b"x-team": b"bank", KEY_HEADER: b"k"}, random.random) == "live"


def test_a_release_that_has_ended_splits_nothing():
    live = begin(None, "iris", 1, Plan(mode="live"), actor="t", at="", runtime=None)
    asked = Traffic.of(live)
    assert not asked.splits
    assert not asked.shadows
    assert asked.tagged("live") == 1
    assert asked.tagged("candidate") is None
    assert asked.tagged("other") is None
