"""Which texts are asked together, alone, while converting, and which become golden samples."""

from __future__ import annotations

import numpy as np
import pytest

from lading.pack import text_rows

NONE = np.array([], dtype=int)
MIXED = np.array([300, 4, 5, 2, 60, 8, 512, 9, 3, 7])


def test_no_more_tokens_are_drawn_than_there_is_time_for():
    random = np.random.default_rng(0)
    kept = text_rows.within(np.full(1000, 50), 2_000, random)
    assert len(kept) == 40
    assert sorted(kept) == list(kept)
    assert len(set(np.diff(kept))) > 1  # drawn, and not the first ones
    assert text_rows.within(np.array([900]), 100, random).tolist() == [0]


def test_short_texts_of_several_lengths_are_converted():
    assert MIXED[text_rows.rows_to_convert(MIXED)].tolist() == [4, 5, 2, 8, 9, 3, 7]
    assert len(text_rows.rows_to_convert(np.arange(2, 2000))) == 24
    # Two at least, however long: a graph for one row may hold for no other number.
    assert text_rows.rows_to_convert(np.array([500, 400, 450])).tolist() == [1, 2]


def test_calls_of_other_sizes_have_the_shortest_and_the_longest_text():
    batches = [MIXED[rows].tolist() for rows in text_rows.batches_to_convert(MIXED)]
    assert batches[0] == [2]
    assert batches[-1] == [512]
    assert [2, 3] in batches
    assert any(len(lengths) > 2 and max(lengths) == 300 for lengths in batches)


def test_texts_of_all_lengths_are_asked_alone():
    alone = text_rows.rows_alone(np.arange(100))
    assert 8 <= len(alone) <= 9
    assert (alone.min(), alone.max() > 90) == (0, True)


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        (np.full(200, 20), 64),
        (np.full(200, 100), 40),
        (np.full(200, 512), 8),
        (np.array([512]), 1),
    ],
    ids=["short", "longer", "longest", "one"],
)
def test_golden_texts_filled_up_to_the_longest_are_few_enough_for_every_start(lengths, rows):
    assert len(text_rows.golden_rows(lengths, NONE)) == rows


def test_golden_texts_are_the_shorter_ones():
    lengths = np.array([*range(3, 103), 512])
    kept = lengths[text_rows.golden_rows(lengths, NONE)]
    assert kept[0] == 3
    assert len(kept) * kept.max() <= 4096 < (len(kept) + 1) * (kept.max() + 1)


def test_texts_of_other_scripts_are_golden_beside_shorter_samples():
    lengths = np.array([5] * 200 + [70] * 10)
    kept = text_rows.golden_rows(lengths, np.arange(200, 210))
    assert set(range(200, 210)) <= set(kept.tolist())
    assert len(kept) == 4096 // 70
