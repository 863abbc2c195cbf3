"""Releases in SQL: history is only added to, and changes at the same time are not lost."""

from __future__ import annotations

import multiprocessing

import pytest
from sqlalchemy import text

from lading.registry import Registry
from lading.release import Plan, verify_chain
from support import release_processes as releasing

CANARY = Plan(mode="canary", steps=(5, 25, 100), gates={"error_rate": 0.01})


@pytest.fixture
def registry(three_versions) -> Registry:
    return three_versions


def test_the_database_refuses_to_change_or_delete_events(registry, catalog):
    registry.releases.begin("iris", 1, actor="ann")
    for statement in ("UPDATE events SET actor = 'bob'", "DELETE FROM events"):
        with (
            pytest.raises(Exception, match="never changed"),
            catalog.database.transaction("write") as connection,
        ):
            connection.execute(text(statement))
    assert verify_chain(registry.releases.events()) is None
    assert [event.actor for event in registry.releases.events()] == ["ann"]


@pytest.mark.slow
def test_four_processes_that_change_one_release_lose_no_update(registry, catalog_url):
    registry.releases.begin("iris", 1, actor="ann")
    registry.releases.begin("iris", 2, CANARY, actor="ann")
    processes, times = multiprocessing.get_context("forkserver"), 25
    results = processes.Queue()
    running = [
        processes.Process(target=releasing.add_weight, args=(catalog_url, times, results)) for _ in range(4)
    ]
    for process in running:
        process.start()
    quicker = [results.get(timeout=60) for _ in running]
    for process in running:
        process.join(60)
    done = registry.releases.current("iris")
    assert (done.epoch, done.weight_percent) == (1 + 4 * times, 5 + 4 * times * 0.25)
    assert sum(quicker) > 0, "they never met: the test proves nothing"
    events = registry.releases.events("iris")
    assert len(events) == 2 + 4 * times
    assert verify_chain(events) is None
    assert [float(event.to) for event in events[2:]] == [5.25 + 0.25 * number for number in range(4 * times)]
