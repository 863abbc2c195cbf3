"""Counters that all workers see: across processes, past the end of a worker, up to the size of the memory."""

from __future__ import annotations

import os
import time

from lading.server.metrics.counts import REQUESTS
from lading.server.metrics.shared_memory import PrivateCounters, SharedCounters, SharedMemory

NAME = ("requests", "iris", "3", "native")


def test_counters_are_zeros_at_first_and_the_same_each_time():
    for store in (PrivateCounters(1), SharedCounters(SharedMemory(1), 1)):
        counters = store.counters(NAME, 3)
        assert list(counters) == [0.0] * 3
        counters[1] += 2
        assert list(store.counters(NAME, 3)) == [0.0, 2.0, 0.0]
        assert list(store.workers()[0].counters[NAME]) == [0.0, 2.0, 0.0]


def test_what_another_process_counts_is_seen_without_asking_it():
    memory = SharedMemory(2)
    ours = SharedCounters(memory, 1)
    child = os.fork()
    if not child:
        SharedCounters(memory, 2).counters(NAME, 1)[0] += 7
        os._exit(0)
    os.waitpid(child, 0)
    assert ours.workers()[1].counters[NAME][0] == 7


def test_a_successor_continues_in_the_counters_of_its_predecessor_but_for_those_it_clears():
    memory = SharedMemory(1)
    memory.began(1, 7)
    predecessor = SharedCounters(memory, 1)
    predecessor.counters(NAME, 1)[0] = predecessor.counters(("process",), 1)[0] = 5
    memory.ended(1)
    assert memory.slots[0].counters()[NAME][0] == 5
    assert predecessor.workers()[0].pid == 0
    memory.began(1, 8)
    successor = SharedCounters(memory, 1)
    successor.clear(lambda name: name == ("process",))
    assert (successor.counters(NAME, 1)[0], successor.counters(("process",), 1)[0]) == (5, 0)
    (worker,) = successor.workers()
    assert (worker.pid, worker.starts) == (8, 2)


def test_full_memory_costs_counts_and_nothing_else(caplog):
    store = SharedCounters(SharedMemory(1), 1)
    for number in range(3000):
        store.counters(("requests", f"model-{number}"), REQUESTS.size)[0] += 1
    assert len(store.workers()[0].counters) < 3000
    assert [record.message for record in caplog.records] == [
        "no more room for counts: those of new versions are missing from /metrics"
    ]


def test_the_fewest_connections_are_those_of_a_worker_that_accepts():
    memory = SharedMemory(3)
    first, second = SharedCounters(memory, 1), SharedCounters(memory, 2)
    assert first.least_connections() == 0, "none accepts yet"
    first.set_connections(5)
    assert first.least_connections() == 5
    second.set_connections(2)
    assert first.least_connections() == 2
    memory.ended(2)
    assert first.least_connections() == 5


def test_no_heartbeat_is_expected_of_a_worker_before_it_accepts_while_it_opens_a_model_and_at_its_end():
    memory = SharedMemory(1)
    memory.began(1, 7)
    worker = SharedCounters(memory, 1)
    with worker.opening():
        pass
    assert memory.heartbeat_of(1) == 0, "it does not accept yet"
    worker.heartbeat()
    before = memory.heartbeat_of(1)
    assert before > 0
    with worker.opening():
        assert memory.heartbeat_of(1) == 0
        while time.monotonic() < before + 0.002:  # The resolution of heartbeats is a millisecond.
            pass
    assert memory.heartbeat_of(1) > before, "how long the event loop stood still meanwhile does not matter"
    worker.stop_heartbeat()
    assert memory.heartbeat_of(1) == 0
