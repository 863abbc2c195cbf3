"""Counts of checks in memory that all workers share: bounded, summed, and kept when a worker is replaced."""

from __future__ import annotations

from lading.input_checks import Rule
from lading.server.metrics.input_checks import (
    CHECKED,
    FAILED,
    MOST_IN_ALL,
    MOST_OF_VERSION,
    CheckCounters,
    counts_of,
)
from lading.server.metrics.shared_memory import PrivateCounters, SharedCounters, SharedMemory


def rule(column: str) -> Rule:
    return Rule(tensor="x", column=column, kind="range")


def own(store) -> dict[tuple[str, ...], list[float]]:
    (worker,) = [worker for worker in store.workers() if worker.number == store.worker]
    return {name: list(counts) for name, counts in worker.counters.items()}


def test_rows_and_failures_are_counted_by_version_column_and_rule():
    store = PrivateCounters(1)
    counters = CheckCounters(store)
    counters.add("iris", 3, 10, [(rule("a"), 2)])
    counters.add("iris", 3, 5, [(rule("a"), 1), (rule("b"), 4)])
    assert counts_of(own(store), CHECKED) == {("iris", "3"): 15}
    assert counts_of(own(store), FAILED) == {("iris", "3", "a", "range"): 3, ("iris", "3", "b", "range"): 4}


def test_what_fails_beyond_the_limit_of_a_version_is_counted_together():
    store = PrivateCounters(1)
    counters = CheckCounters(store)
    for at in range(MOST_OF_VERSION + 3):
        counters.add("iris", 1, 1, [(rule(f"column {at}"), 1)])
    failed = counts_of(own(store), FAILED)
    assert len(failed) == MOST_OF_VERSION + 1
    assert failed["iris", "1", "other", "other"] == 3
    counters.add("iris", 1, 1, [(rule("column 0"), 1)])
    assert counts_of(own(store), FAILED)["iris", "1", "column 0", "range"] == 2


def test_all_versions_together_have_a_limit_as_well():
    store = PrivateCounters(1)
    counters = CheckCounters(store)
    for version in range(40):
        counters.add("iris", version, 1, [(rule(f"column {at}"), 1) for at in range(MOST_OF_VERSION)])
    failed = counts_of(own(store), FAILED)
    assert sum("other" not in name for name in failed) == MOST_IN_ALL
    assert sum(failed.values()) == 40 * MOST_OF_VERSION


def test_the_successor_of_a_worker_goes_on_with_its_counts_and_within_its_limits():
    memory = SharedMemory(2)
    for at in range(MOST_OF_VERSION):
        CheckCounters(SharedCounters(memory, 1)).add("iris", 1, 1, [(rule(f"column {at}"), 1)])
    successor = SharedCounters(memory, 1)
    CheckCounters(successor).add("iris", 1, 1, [(rule("column 0"), 1), (rule("new"), 1)])
    failed = counts_of(own(successor), FAILED)
    assert failed["iris", "1", "column 0", "range"] == 2
    assert failed["iris", "1", "other", "other"] == 1


def test_a_name_of_any_length_fits():
    store = SharedCounters(SharedMemory(1), 1)
    CheckCounters(store).add("iris", 1, 1, [(rule("x" * 10_000), 1)])
    (name,) = counts_of(own(store), FAILED)
    assert len(name[2]) == 100
