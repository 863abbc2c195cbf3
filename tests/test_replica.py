"""When a replica counts as gone."""

from __future__ import annotations

import pytest

from lading.replica import GONE_AFTER_S, Replica


@pytest.mark.parametrize(
    ("facts", "gone"),
    [
        ({"silent_s": GONE_AFTER_S}, False),
        ({"silent_s": GONE_AFTER_S + 0.1}, True),
        ({"stopped_at": "2026-11-28T08:00:00Z"}, True),
        ({"silent_s": 1e6, "pattern": "foreign"}, False),
    ],
)
def test_a_replica_is_gone_once_it_stopped_or_was_silent_and_a_foreign_server_never_is(facts, gone):
    assert Replica(id="web-1", **facts).gone is gone
