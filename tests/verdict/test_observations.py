"""The observations of each gate."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from lading.release import Plan
from lading.traffic import LATENCY_BOUNDS_S, ShadowCounts
from lading.verdict.aggregates import BINS
from lading.verdict.observations import quantile, seconds_at
from support.live_windows import LIVE, SHADOW, START, verdict, windows


def test_agreement_may_be_counted_in_the_windows_of_live():
    copies = windows(2, 50, agreement=0.3)
    moved = [
        msgspec.structs.replace(window, shadow=copy.shadow) for window, copy in zip(LIVE, copies, strict=True)
    ]
    candidate = [msgspec.structs.replace(window, shadow=ShadowCounts()) for window in copies]
    assert verdict(candidate, live=moved, plan=SHADOW).action == "roll_back"


def test_failed_shadow_copies_count_as_errors_and_disagreement():
    failing = [
        msgspec.structs.replace(window, shadow=ShadowCounts(agreed=10, failed=40))
        for window in windows(2, 50, agreement=1.0)
    ]
    result = verdict(failing, plan=SHADOW)
    assert result.action == "roll_back"
    assert [reason.split(":")[0] for reason in result.reasons] == ["errors", "agreement"]


LAST = Plan(mode="canary", steps=(20, 100), hold_s=30, min_requests=500)


BEFORE = windows(1, 200, start=START - 120)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"error": 0.03}, "errors: "),
        ({"slowdown": 2.5}, "latency p99: "),
        ({"outputs": (0.2, 0.3, 0.5)}, "outputs: "),
        ({"accuracy": 0.75}, "accuracy: "),
    ],
)
def test_at_100_percent_harm_is_measured_against_live_before_the_step(bad, word):
    result = verdict(windows(2, 250, **bad), live=BEFORE, plan=LAST)
    assert result.action == "roll_back"
    assert result.reasons[0].startswith(word)


def test_a_quantile_is_interpolated_within_its_bin():
    histogram = np.zeros(BINS)
    histogram[10] = 100
    assert quantile(histogram, 0.5) == pytest.approx(10.5)
    assert quantile(histogram, 0.01) == pytest.approx(10.99)


def test_a_place_on_the_scale_of_bins_is_a_latency_between_its_bounds():
    assert seconds_at(1) == pytest.approx(LATENCY_BOUNDS_S[0])
    assert LATENCY_BOUNDS_S[4] < seconds_at(5.5) < LATENCY_BOUNDS_S[5]


def test_the_measured_quantile_is_near_that_of_the_latencies():
    latencies = np.random.default_rng(0).lognormal(np.log(0.003), 0.5, 20_000)
    histogram = np.bincount(np.searchsorted(LATENCY_BOUNDS_S, latencies), minlength=BINS).astype(float)
    assert seconds_at(float(quantile(histogram, 0.01))) == pytest.approx(
        np.quantile(latencies, 0.99), rel=0.1
    )
