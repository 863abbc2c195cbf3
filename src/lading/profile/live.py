"""Counts of live rows in the cells of a reference, for all of its columns at once. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import msgspec
import numpy as np

from lading.profile import ColumnProfile, Profile
from lading.profile.cells import Cells
from lading.profile.columns import measured
from lading.signature import Array, Signature, Tensor

BATCH_RUN = "batch"
"""Stands where a window or a record names the server: these rows are those of a whole offline run."""


class ColumnWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one version on one replica for ``seconds`` from the Unix time ``at``: counts in cells.

    ``counts`` are by column in the order of the profile, ``profile`` is the digest of that. ``rows`` were
    counted, of ``seen`` that passed: beyond a rate a random share of them is enough.
    Input checks looked at ``checked`` rows; ``failures`` has column, rule, and rows that failed it.
    """

    name: str
    version: int
    digest: str
    release: int
    replica: str
    profile: str
    at: float
    seconds: float
    rows: int
    seen: int
    counts: tuple[tuple[int, ...], ...]
    checked: int = 0
    failures: tuple[tuple[str, str, int], ...] = ()
    id: str = ""


class LiveCounts:
    """What counts rows in the cells of a profile. One thread at a time adds to it."""

    def __init__(self, profile: Profile, signature: Signature) -> None:
        self.profile = profile
        outputs = {tensor.name: tensor for tensor in signature.outputs}
        inputs = {tensor.name: tensor for tensor in signature.inputs}
        self._plans = [
            *(_Plan(column, inputs[column.tensor]) for column in profile.inputs),
            *(_Plan(column, outputs[column.tensor]) for column in profile.outputs),
        ]
        # Inputs and outputs may have the same name, and are kept apart by their place.
        self._of_inputs = len(profile.inputs)
        self.rows = 0
        self._counts = [np.zeros(plan.cells.size, np.int64) for plan in self._plans]

    def add(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], rows: int) -> None:
        """Count `rows` rows; a tensor that is absent, such as an output nobody asked for, is not counted."""
        self.rows += rows
        for at, plan in enumerate(self._plans):
            array = (inputs if at < self._of_inputs else outputs).get(plan.column.tensor)
            # Callers may ask for some outputs only; the others have fewer rows than the window.
            if array is not None:
                self._counts[at] += plan.counts(array)

    def drain(self) -> tuple[tuple[int, ...], ...]:
        """Return the counts of each column, and begin again at zero."""
        drained = tuple(tuple(counts.tolist()) for counts in self._counts)
        # The same arrays again: a window of many columns makes no garbage.
        for counts in self._counts:
            counts[:] = 0
        self.rows = 0
        return drained


class _Plan:
    """How one column is counted."""

    def __init__(self, column: ColumnProfile, tensor: Tensor) -> None:
        self.column = column
        self.cells = Cells(column)
        self._tensor = tensor

    def counts(self, array: Array) -> Array:
        """Return how many rows of `array` fall into each cell: ``[cells]``."""
        return self.cells.counts(measured(self.column, array, self._tensor))


def merged(windows: Sequence[ColumnWindow]) -> list[list[int]]:
    """Return the sums of the counts of windows of one profile, by column and cell."""
    sizes = [len(counts) for counts in windows[0].counts]
    total = np.zeros(sum(sizes), np.int64)
    # All columns at once: a day of windows has millions of counts.
    for window in windows:
        total += np.fromiter(chain.from_iterable(window.counts), np.int64, len(total))
    ends = np.cumsum(sizes, dtype=np.int64)[:-1]
    return [part.tolist() for part in np.split(total, ends)]
