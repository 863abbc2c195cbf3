"""Counts of rows that were checked, and of those that failed, by column and rule, over all workers.

How many columns and rules have counts of their own is limited, because slots cannot be freed: what fails
beyond is counted together. Shows nothing; `page` does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from lading.input_checks import Rule
from lading.server.metrics.shared_memory import Counters, CounterStore, Name

CHECKED, FAILED = "checked_rows", "check_failures"
"""Kinds of counters. The labels are model and version, and of failures column and rule."""

OTHER = "other"
MOST_OF_VERSION = 64
MOST_IN_ALL = 1000
_LONGEST_LABEL = 100


class CheckCounters:
    """What one process counts of checks; one thread at a time adds to it."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._counters: dict[Name, Counters] = {}
        # A predecessor of this worker has left its counts, which go on.
        self._of_version: dict[Name, int] = {}
        self._in_all = 0
        self._known: set[Name] = set()
        for worker in store.workers():
            if worker.number == store.worker:
                for name in worker.counters:
                    if name[0] == FAILED:
                        self._note(name)

    def add(self, model: str, version: int, rows: int, failed: Iterable[tuple[Rule, int]]) -> None:
        """Count `rows` rows of a version that were checked, and how many of them `failed` which rule."""
        labels = (model, str(version))
        with self._lock:
            self._at((CHECKED, *labels))[0] += rows
            for rule, count in failed:
                self._at(self._name((FAILED, *labels), rule))[0] += count

    def _name(self, version: Name, rule: Rule) -> Name:
        name = (*version, rule.column[:_LONGEST_LABEL], rule.kind)
        if name in self._known:
            return name
        if self._of_version.get(version, 0) >= MOST_OF_VERSION or self._in_all >= MOST_IN_ALL:
            return (*version, OTHER, OTHER)
        self._note(name)
        return name

    def _note(self, name: Name) -> None:
        self._known.add(name)
        self._of_version[name[:3]] = self._of_version.get(name[:3], 0) + 1
        self._in_all += 1

    def _at(self, name: Name) -> Counters:
        counters = self._counters.get(name)
        if counters is None:
            counters = self._counters[name] = self._store.counters(name, 1)
        return counters


def counts_of(sums: Mapping[Name, Sequence[float]], kind: str) -> dict[Name, int]:
    """Return the counts of a kind by their labels; `sums` are the counters of all workers."""
    return {name[1:]: int(counts[0]) for name, counts in sums.items() if name[0] == kind}
