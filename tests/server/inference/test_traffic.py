"""Which side of a release answers: by rules, by keys, or at random."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from lading.release import HeaderRule, Plan, begin
from lading.server.inference.traffic import KEY_HEADER, Traffic


def traffic(weight: float, rules: tuple[HeaderRule, ...] = (), name: str = "iris") -> Traffic:
    live = begin(None, name, 1, Plan(mode="live"), actor="t", at="", runtime=None)
    plan = Plan(mode="canary", steps=(5, 100), rules=rules)
    release = begin(live, name, 2, plan, actor="t", at="", runtime=None)
    return replace(Traffic.of(release), live=1, candidate=2, weight_percent=weight)


@pytest.mark.parametrize("weight", [5, 25, 50])
def test_the_share_of_the_candidate_is_its_weight(weight):
    random.seed(7)
    release, requests = traffic(weight), 20_000
    candidates = sum(release.side({}, random.random) == "candidate" for _ in range(requests))
    sigma = math.sqrt(requests * weight / 100 * (1 - weight / 100))
    assert abs(candidates - requests * weight / 100) < 2.58 * sigma


def test_a_key_stays_on_its_side_while_the_weight_grows():
    keys = [f"user-{number}".encode() for number in range(2000)]
    before: set[bytes] = set()
    for weight in (0, 1, 5, 25, 50, 99, 100):
        now = {key for key in keys if traffic(weight).side({KEY_HEADER: key}, random.random) == "candidate"}
        assert before <= now
        before = now
    assert before == set(keys)


def test_a_key_has_another_side_with_another_salt():
    keys = [f"user-{number}".encode() for number in range(200)]
    sides = [
        [replace(traffic(50), salt=salt).side({KEY_HEADER: key}, random.random) for key in keys]
        for salt in ("a1", "a1", "b2")
    ]
    assert sides[0] == sides[1]
    assert sides[0] != sides[2]


def test_a_key_lands_on_the_same_side_in_every_process():
    # Pinned: another process, host or version of lading must choose the same sides.
    on_candidate = {0, 4, 6, 8, 9, 10}
    for draw in (random.random, lambda: 0.0):
        keys = [f"user-{number}".encode() for number in range(12)]
        sides = [traffic(50).side({KEY_HEADER: key}, draw) for key in keys]
        assert {number for number, side in enumerate(sides) if side == "candidate"} == on_candidate
        assert sides.count("live") == 6


def test_another_model_puts_other_keys_on_the_candidate():
    keys = [f"user-{number}".encode() for number in range(200)]
    iris = [traffic(50, name="iris").side({KEY_HEADER: key}, random.random) for key in keys]
    wine = [traffic(50, name="wine").side({KEY_HEADER: key}, random.random) for key in keys]
    assert iris != wine


def test_a_rule_wins_over_key_and_weight():
    rules = (HeaderRule("X-Team", "qa", "candidate"), HeaderRule("x-team", "bank", "live"))
    for weight in (0, 100):
        release = traffic(weight, rules)
        assert release.side({b"x-team": b"qa", KEY_HEADER: b"k"}, random.random) == "candidate"
        assert release.side({b"x-team": b"bank", KEY_HEADER: b"k"}, random.random) == "live"


def test_a_release_that_has_ended_splits_nothing():
    live = begin(None, "iris", 1, Plan(mode="live"), actor="t", at="", runtime=None)
    ended = Traffic.of(live)
    assert not ended.splits
    assert not ended.shadows
    assert ended.tagged("live") == 1
    assert ended.tagged("candidate") is None
    assert ended.tagged("other") is None
