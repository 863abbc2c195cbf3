"""Plans as people type them."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting
from lading.release.plan_text import read_duration, read_steps


@pytest.mark.parametrize(
    ("text", "steps"), [("5,25,100", (5, 25, 100)), (" 5 % , 25% ", (5, 25)), ("1", (1,))]
)
def test_steps_are_rising_percentages(text, steps):
    assert read_steps(text) == steps


@pytest.mark.parametrize("text", ["", ",", "5,5", "25,5", "0,5", "5,101", "-5", "5.5", "²", "٥", "5" * 5000])
def test_other_steps_are_refused(text):
    with pytest.raises(InvalidSetting, match="expected rising percentages"):
        read_steps(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86_400), ("500ms", 0.5)]
)
def test_a_time_has_a_unit_or_is_in_seconds(text, seconds):
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1e9", "nan", "inf", "1 s", "1w", "٥s", "9" * 400])
def test_other_times_are_refused(text):
    with pytest.raises(InvalidSetting, match="expected a time"):
        read_duration(text)
