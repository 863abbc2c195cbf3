"""A release as people see it: both sides in numbers."""

from __future__ import annotations

import pytest

from lading.release import Plan
from lading.rollout import WindowReader
from lading.rollout.snapshot import take_snapshot
from support.simulated_traffic import Behaviour


def test_the_numbers_of_both_sides_add_up(rollout):
    rollout.begin(Plan(mode="ab", steps=(25,)))
    for _ in range(12):
        rollout.second(Behaviour(p50_s=0.0024))
    snapshot = rollout.snapshot()
    live, candidate = snapshot.live, snapshot.candidate
    assert live.requests + candidate.requests == 12 * 2000
    assert live.requests_per_s == pytest.approx(1500, rel=0.1)
    assert candidate.latency_p50_s == pytest.approx(0.0024, rel=0.1)
    assert live.latency_p50_s == pytest.approx(0.002, rel=0.1)
    assert (live.share_percent, candidate.share_percent) == (75, 25)
    assert candidate.accuracy == pytest.approx(0.9, abs=0.05)
    assert sum(live.outputs.values()) + live.errors == live.requests
    assert live.error_share == live.errors / live.requests
    assert snapshot.driver == "driver"
    assert snapshot.step_age_s == 12


def test_without_traffic_nothing_is_known_of_latency_errors_and_accuracy(rollout):
    rollout.begin(Plan(mode="ab", steps=(25,)))
    side = rollout.snapshot().candidate
    assert (side.requests, side.requests_per_s) == (0, 0)
    assert side.latency_p50_s is side.latency_p99_s is side.error_share is side.accuracy is None


def test_a_release_without_a_candidate_has_one_side_and_no_verdict(rollout):
    snapshot = rollout.snapshot()
    assert (snapshot.live.version, snapshot.live.share_percent) == (1, 100)
    assert snapshot.candidate is snapshot.verdict is None


def test_a_model_that_was_never_released_has_no_snapshot(rollout):
    assert take_snapshot(rollout.registry, WindowReader(rollout.registry), "wine", 0.0) is None
