"""Which of several changes makes a difference: delta debugging over sets of names. Tries nothing itself.

Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002 (the algorithm ddmin).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

Verdict = Literal["differs", "same", "unknown"]
Judge = Callable[[frozenset[str]], Verdict]
"""Says of a set of changes whether it makes the difference; ``unknown`` where it cannot be tried."""


def smallest_set(names: frozenset[str], judge: Judge) -> frozenset[str]:
    """Return a set among `names`, which together differ, from which no single one can be left out.

    `judge` is asked once about each set. With one cause among n changes it is asked some 2 log2(n) times, and
    n² times at the very most.
    """
    remembered: dict[frozenset[str], Verdict] = {names: "differs", frozenset(): "same"}

    def differs(some: frozenset[str]) -> bool:
        if some not in remembered:
            remembered[some] = judge(some)
        return remembered[some] == "differs"

    left, parts = names, 2
    while len(left) > 1:
        # Sorted, so that the same question is asked in the same order on every host.
        chunks = list(_chunks(sorted(left), parts))
        smaller = next((chunk for chunk in chunks if differs(chunk)), None)
        if smaller is not None:
            left, parts = smaller, 2
            continue
        # Several that only differ together are in several chunks: then one without any of them may go.
        smaller = next((left - chunk for chunk in chunks if differs(left - chunk)), None)
        if smaller is not None:
            left, parts = smaller, max(parts - 1, 2)
        elif parts >= len(left):
            break  # The chunks were single names, and none could be left out.
        else:
            parts = min(2 * parts, len(left))
    return left


def _chunks(names: list[str], parts: int) -> Iterator[frozenset[str]]:
    """Divide the names into `parts` that differ by one in size at most."""
    for part in range(parts):
        yield frozenset(names[part * len(names) // parts : (part + 1) * len(names) // parts])
