"""Rows that wait until there are enough for whole chunks, in whatever pieces they are read.

How many rows run as one may decide the last bits of their answers. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from lading.errors import ShapeRefused
from lading.signature import Array


class WholeChunks:
    """Inputs of rows, and the columns that go with them, in chunks that do not depend on the reading."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._inputs: list[Mapping[str, Array]] = []
        self._others: list[pa.RecordBatch] = []
        self._count = 0

    def add(
        self, inputs: Mapping[str, Array], others: pa.RecordBatch
    ) -> Iterator[tuple[dict[str, Array], pa.RecordBatch]]:
        """Take rows; iterate over whole chunks of those before."""
        if not len(others):
            return
        # What is read last waits for `rest`: the many calls for a small file are made once.
        whole = self._count - self._count % self._rows
        if whole:
            yield from self._taken(whole)
        self._inputs.append(inputs)
        self._others.append(others)
        self._count += len(others)

    def rest(self) -> Iterator[tuple[dict[str, Array], pa.RecordBatch]]:
        """Iterate over what is left at the end."""
        if self._count:
            yield from self._taken(self._count)

    def _taken(self, count: int) -> Iterator[tuple[dict[str, Array], pa.RecordBatch]]:
        inputs = {name: _joined([part[name] for part in self._inputs]) for name in self._inputs[0]}
        others = self._others[0] if len(self._others) == 1 else _one_batch(self._others)
        left = self._count - count
        self._inputs = [{name: array[count:] for name, array in inputs.items()}] if left else []
        self._others = [others.slice(count)] if left else []
        self._count = left
        yield {name: array[:count] for name, array in inputs.items()}, others.slice(0, count)


def _joined(arrays: Sequence[Array]) -> Array:
    sizes = {array.shape[1:] for array in arrays}
    if len(sizes) > 1:
        raise ShapeRefused("rows of a file", expected="one size in all rows", found="several sizes")
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _one_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
