"""Rows run in chunks, so that what a run takes in memory does not grow with the rows.

How many rows run as one follows from the time that runs take: whatever a run writes to memory takes time,
too, and ONNX Runtime does not say how much it allocates. Knows no session and no signature.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]

RUN_BUDGET_S = 0.02
"""A chunk should take no longer than this, or than two rows take: longer ones gain nothing from their size.

A feed-forward block of 256 tokens (3.9 MB of activations) took 6.5 ms a row in chunks of 8, and 19 ms and
1,024 MB in one run of 256 rows.
"""


class ChunkSizes:
    """How many rows may run as one, learned from the runs by the number of values in a row.

    Threads may share it: a lost update is made up for by the next run.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        # By the bit length of the values in a row: a handful of entries, whatever sizes clients send.
        self._most: dict[int, int] = {}
        self._alone_s: dict[int, float] = {}

    def most(self, values: int) -> int:
        """Return how many rows of `values` values may run as one; 1 as long as no such run was seen."""
        size = values.bit_length()
        known = self._most.get(size)
        if known is not None:
            return known
        smaller = max((other for other in self._most if other < size), default=None)
        if smaller is None:
            return self._most[min(self._most)] if self._most else 1
        # Attention takes the square of the length: the estimate for longer rows must not be too high.
        return max(1, self._most[smaller] >> 2 * (size - smaller))

    def observe(self, rows: int, values: int, took_s: float) -> None:
        """Learn from a run of `rows` rows of `values` values."""
        size, most = values.bit_length(), self.most(values)
        if rows == 1:
            self._alone_s[size] = min(took_s, self._alone_s.get(size, took_s))
        budget_s = max(RUN_BUDGET_S, 2 * self._alone_s.get(size, 0.0))
        # Step by step: a run of more memory than the process holds may take 20 times as long for each row.
        if rows >= most and took_s <= budget_s / 2:
            most = rows * (4 if took_s <= budget_s / 8 else 2)
        elif took_s > budget_s:
            most = max(1, min(most, rows) // 2)
        self._most[size] = most

    def run(
        self, run: Run, inputs: Mapping[str, Array], *, least: int = 1, values: int = 0
    ) -> dict[str, Array]:
        """Run all rows of `inputs`, at least `least` of them at a time, and join the answers.

        `values` is how large a row is, where that is not how many values it has.
        In one run if the answers have other numbers of rows than the inputs, and so cannot be joined.
        """
        rows = len(next(iter(inputs.values())))
        values = values or sum(array.size for array in inputs.values()) // max(1, rows)
        joined: dict[str, Array] = {}
        start = 0
        while start < rows:
            count = self._count(rows - start, values, least)
            part = inputs if count == rows else {name: a[start : start + count] for name, a in inputs.items()}
            began = self._clock()
            answers = run(part)
            self.observe(count, values, self._clock() - began)
            if count == rows:
                return answers
            if not _add(joined, answers, start, count, rows):
                return run(inputs)
            start += count
        return joined if rows else run(inputs)

    def _count(self, left: int, values: int, least: int) -> int:
        """Return how many of the rows that are left run next."""
        most = max(least, self.most(values))
        if left <= most:
            return left
        # Powers of two: for each slightly larger run ONNX Runtime would allocate a further block.
        return max(least, 1 << (most.bit_length() - 1))


class FixedChunks(ChunkSizes):
    """The same number of rows in each run: the bits of the answers then follow from the inputs alone."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows

    def most(self, values: int) -> int:  # noqa: ARG002
        """Return the number that was asked for."""
        return self._rows

    def observe(self, rows: int, values: int, took_s: float) -> None:
        """Learn nothing."""


def _add(joined: dict[str, Array], answers: Mapping[str, Array], start: int, count: int, rows: int) -> bool:
    """Put the answers to `count` rows in their place among those to all `rows`; return whether they fit."""
    for name, array in answers.items():
        if array.ndim == 0 or len(array) != count:
            return False
        if name not in joined:
            joined[name] = np.empty((rows, *array.shape[1:]), array.dtype)
        whole = joined[name]
        if whole.shape[1:] != array.shape[1:]:
            return False
        whole[start : start + count] = array
    return True
