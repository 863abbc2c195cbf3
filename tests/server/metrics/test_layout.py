"""The layout of a block of numbers."""

from __future__ import annotations

from lading.server.metrics.counts import REQUESTS, RUNS
from lading.server.metrics.layout import Layout


def test_parts_follow_each_other_without_gaps():
    layout = Layout(statuses=3, received_bytes=1, bins=2)
    assert [layout.start(name) for name in ("statuses", "received_bytes", "bins")] == [0, 3, 4]
    assert list(range(6))[layout.part("bins")] == [4, 5]
    assert layout.size == 6


def test_the_blocks_of_requests_and_runs_are_full():
    for layout in (REQUESTS, RUNS):
        numbers = list(range(layout.size))
        taken = [number for name in layout for number in numbers[layout.part(name)]]
        assert taken == numbers
