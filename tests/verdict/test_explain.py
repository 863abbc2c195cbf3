"""The reasons of a verdict, in words and numbers."""

from __future__ import annotations

import math

import msgspec

from lading.verdict import Verdict
from support.live_windows import LIVE, verdict, windows


def test_reasons_name_both_sides_and_the_limit():
    (reason,) = verdict(windows(2, 50, error=0.03)).reasons
    assert f"of {sum(window.requests for window in LIVE):,}" in reason
    assert "(limit +0.5 points)" in reason
    assert "≥ 120)" in reason  # alpha 0.05 among six gates of one step


def test_every_number_of_a_verdict_fits_into_json():
    result = verdict(windows(2, 50, error=0.5))
    assert all(math.isfinite(value) for value in result.numbers.values())
    assert msgspec.json.decode(msgspec.json.encode(result), type=Verdict) == result
