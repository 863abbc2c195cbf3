"""One gate against one step's traffic."""

from __future__ import annotations

import msgspec
import pytest

from support.live_windows import CANARY, START, verdict, windows


def test_more_steps_make_every_conviction_harder():
    plan = msgspec.structs.replace(CANARY, steps=(5, 20, 50))
    assert verdict(windows(2, 50), plan=plan).numbers["max_error_increase.harm_threshold"] == pytest.approx(
        360
    )


def test_one_bad_second_convicts_nobody():
    candidate = windows(2, 50, error=0.0, seconds=60)
    candidate[40] = windows(2, 50, error=1.0, slowdown=100, seconds=41)[40]
    assert verdict(candidate, age=60).action != "roll_back"


@pytest.mark.slow
def test_a_fault_that_begins_after_an_hour_is_detected():
    live = windows(1, 40, seconds=3900)
    good = windows(2, 40, seconds=3600)
    bad = windows(2, 40, seconds=300, start=START + 3600, error=0.3)
    assert verdict(good, live=live, age=3600).action == "promote"
    assert verdict([*good, *bad], live=live, age=3900).action == "roll_back"
