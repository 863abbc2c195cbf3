"""Many requests or runs of one version as arrays of all their rows: what consumers of `Recorder` see."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lading.server.inference.version import ServedVersion
from lading.signature import Array

Side = str
"""``live`` or ``candidate`` by the release of the model; empty where it has none."""


@dataclass(frozen=True, eq=False)
class RowChunk:
    """Rows that one version has run for clients: ``inputs`` and ``outputs`` have ``[rows, ...]``.

    ``outputs`` is empty if the runs failed. Of a model without a batch dimension it is one run, and arrays as
    they are. ``release`` is 0 where the model has no release.
    """

    served: ServedVersion
    release: int
    rows: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @property
    def has_failed(self) -> bool:
        """Return whether the runs gave no outputs."""
        return not self.outputs

    def take(
        self, count: int, random: np.random.Generator
    ) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """Return inputs and outputs of `count` of the rows, drawn at random."""
        at = random.choice(self.rows, count, replace=False)
        inputs = {name: array[at] for name, array in self.inputs.items()}
        return inputs, {name: array[at] for name, array in self.outputs.items()}


@dataclass(frozen=True, eq=False)
class AnswerChunk:
    """Answered requests of one version, in the order of their answers, with their rows as arrays.

    The lists have an entry for each request: its id, its rows, its status on the wire, the name of its error
    (empty for none), its seconds, the Unix time of its answer, and the warnings that it was answered with.
    ``inputs`` and ``outputs`` have the rows of all of them: ``[sum(rows), ...]``; ``outputs`` is empty if the
    requests failed. A model without a batch dimension has one request in a chunk, and arrays as they are.
    ``release`` is 0 and ``side`` empty where the model has no release.
    """

    served: ServedVersion
    release: int
    side: Side
    ids: list[bytes]
    rows: list[int]
    statuses: list[int | str]
    errors: list[str]
    latencies_s: list[float]
    ended_at: list[float]
    warnings: list[tuple[str, ...]]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


def stacked(arrays: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """Return the rows of all requests by name; raises `ValueError` if they are no one array."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    return {name: _joined([each[name] for each in arrays]) for name in first}


def _joined(arrays: list[Array]) -> Array:
    first = arrays[0]
    row = first.shape[1:]
    alike = not first.dtype.hasobject and first.ndim and all(array.shape[1:] == row for array in arrays)
    if alike:
        # Of many small arrays, a third of what `concatenate` takes.
        with contextlib.suppress(TypeError):  # What is not contiguous has no one buffer.
            joined = np.frombuffer(bytearray().join(arrays), first.dtype)  # type: ignore[arg-type]  # buffers
            return joined.reshape(-1, *row)
    return np.concatenate(arrays)
