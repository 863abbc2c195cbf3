"""A column of a profile as people read it."""

from __future__ import annotations

import pytest

from lading.profile import ColumnProfile
from lading.profile.described import MOST_BARS, bar_rows, missing_share, range_text, share_text, typical_text

BINNED = ColumnProfile(
    tensor="X",
    name="age",
    kind="number",
    counts=(5, 0, 10, 30, 10),
    bounds=(2.0, 4.0),
    minimum=0.0,
    maximum=10.0,
    mean=3.25,
    deviation=1.5,
)
CITIES = ColumnProfile(
    tensor="X",
    name="city",
    kind="category",
    counts=(0, 4, 40, 30, 20, 10),
    values=("Oslo", "Bonn", "Rome", "Nice"),
)
NOTHING = ColumnProfile(tensor="X", name="empty", kind="number", counts=(0, 0, 0))


def test_a_binned_column_has_a_range_and_a_mean_with_its_deviation():
    assert range_text(BINNED) == "0 – 10"
    assert typical_text(BINNED) == "3.25 ± 1.5"
    assert missing_share(BINNED) == pytest.approx(5 / 55)


def test_categories_are_listed_by_their_shares_with_what_is_left():
    assert range_text(CITIES) == ""
    assert typical_text(CITIES) == "Oslo 38.5 %, Bonn 28.8 %, Rome 19.2 %, 1 more, rare 3.8 %"


def test_bars_are_equal_parts_of_the_range_and_lose_no_row():
    bars = bar_rows(BINNED)
    assert len(bars) == MOST_BARS
    assert sum(bars) == pytest.approx(50, abs=MOST_BARS / 2)
    # Half as wide a bin with three times the rows is six times as high.
    assert bars[4] == 8
    assert bars[0] == 2
    assert bar_rows(CITIES) == [40, 30, 20, 10]


def test_a_column_of_which_nothing_is_known_has_no_bars_and_no_numbers():
    assert (bar_rows(NOTHING), range_text(NOTHING), typical_text(NOTHING)) == ([], "", "")
    assert missing_share(NOTHING) == 0.0


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.0005, "< 0.1 %"), (0.032, "3.2 %"), (0.12, "12 %"), (1.0, "100 %")]
)
def test_a_small_share_is_not_rounded_to_none(share, text):
    assert share_text(share) == text
