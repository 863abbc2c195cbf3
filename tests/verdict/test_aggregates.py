"""Windows as arrays by second, and blocks of seconds."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from lading.verdict.aggregates import MAX_NAMES, blocks_of, names_of, side_of
from support.live_windows import LIVE, windows


def test_rows_of_one_request_weigh_as_much_as_one_request():
    batches = windows(1, 200, rows=50)
    side = side_of(batches, np.array([window.at for window in batches]), names_of(batches))
    assert side.outputs.sum() == pytest.approx(side.requests.sum())


def test_labels_beyond_the_limit_count_as_one():
    many = [
        msgspec.structs.replace(
            LIVE[0], outputs={str(label): label + 1 for label in range(100)}, requests=5050
        )
    ]
    names = names_of(many)
    assert len(names) == MAX_NAMES
    assert names[0] == "99"
    counted = side_of(many, np.array([many[0].at]), names).outputs[0, 0]
    assert counted[-1] == sum(range(1, 70))


def test_blocks_have_enough_of_both_sides_and_grow_with_age():
    steady = np.full((1, 5000), 10.0)
    sparse = np.zeros((1, 5000))
    sparse[0, ::3] = 1.0
    edges = blocks_of([steady, sparse], np.arange(5000.0)).edges[0]
    assert np.diff(edges).min() >= 13  # five in every third second
    alone = np.diff(blocks_of([steady], np.arange(5000.0)).edges[0])
    assert alone[0] == 1
    assert 48 <= alone[-1] <= 50  # what is left over waits
