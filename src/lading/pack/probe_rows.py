"""The rows on which a conversion is tried, and what the framework answers for them.

Compares nothing. Every row that is not a sample is drawn by `sampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lading.convert import Table, TrainedModel
from lading.errors import SamplesRefused
from lading.pack import sampling
from lading.pack.missing_values import MissingValues, gather_missing_values
from lading.signature import Array

MAX_SAMPLES = 20_000
"""Of more samples than this the proof uses a seeded choice."""
DRAWN_ROWS = 6_000

# An answer of a million columns (hashed texts) is compared on fewer rows, so that it fits into memory.
_MAX_VALUES = 20_000_000
_MIN_ROWS = 8
# A network computes far more of a value than an estimator does.
_DRAWN_FOR_NETWORKS = 1_000
_VALUES_FOR_NETWORKS = 500_000


@dataclass(frozen=True)
class Unseen:
    """Rows with a value that no sample has; ``expected`` is None if the framework refuses them."""

    title: str
    table: Table
    expected: dict[str, Array] | None


@dataclass(frozen=True)
class ProbeRows:
    """Rows and the framework's answers; the first `sample_rows` are samples, the others were drawn.

    The rows with values that no sample has are compared if the signature of a conversion accepts them.
    ``missing`` are rows with missing values, if samples have some. ``calls`` are of other sizes.
    """

    table: Table
    expected: dict[str, Array]
    sample_rows: int
    unseen: tuple[Unseen, ...] = ()
    missing: MissingValues | None = None
    calls: tuple[Unseen, ...] = ()

    def take(self, rows: Array) -> ProbeRows:
        """Return these of the rows, at ascending indices."""
        expected = {name: array[rows] for name, array in self.expected.items()}
        samples = int((rows < self.sample_rows).sum())
        return replace(self, table=self.table.take(rows), expected=expected, sample_rows=samples)

    def samples(self) -> tuple[Table, dict[str, Array]]:
        """Return the samples alone, and the framework's answers for them."""
        if self.sample_rows == self.table.rows:
            return self.table, self.expected
        table = self.table.take(np.arange(self.sample_rows))
        return table, {name: array[: self.sample_rows] for name, array in self.expected.items()}


def gather_probe_rows(trained: TrainedModel, table: Table, note: Callable[[str], None]) -> ProbeRows:
    """Gather the rows to compare: samples, and rows drawn between them if the framework answers those."""
    # Two rows show how wide an answer is, before all are computed. An ONNX file may not take so few.
    head = trained.outputs(table.take(np.arange(min(2, table.rows)))) if table.drawable else {}
    width = max([1, *(np.size(array[0]) for array in head.values())])
    most = min(MAX_SAMPLES, max(_MIN_ROWS, _MAX_VALUES // width))
    if table.rows > most and head:
        random = np.random.default_rng(sampling.SEED)
        chosen = np.sort(random.choice(table.rows, most, replace=False))
        note(f"{most} of {table.rows} samples were compared, chosen by a seeded draw")
        table = table.take(chosen)
    expected = trained.outputs(table)
    sample_rows = table.rows
    if _rows_are_independent(table, expected):
        # Recombined rows have values of samples only: a framework that refuses others may answer them.
        for draw in (sampling.between, sampling.recombined):
            try:
                drawn = draw(table, min(DRAWN_ROWS, most, _most_drawn(table)))
                expected_drawn = trained.outputs(drawn)
            except SamplesRefused as error:
                note(f"{trained.title} does not answer rows drawn between the samples ({error.found})")
                continue
            table = table.with_arrays(stacked(table.arrays, drawn.arrays))
            expected = stacked(expected, expected_drawn)
            break
    if not table.drawable:  # Not every array of an ONNX file needs to have rows.
        return ProbeRows(table, expected, sample_rows, calls=_answered(trained, trained.other_calls(table)))
    samples = table.take(np.arange(sample_rows))
    missing = gather_missing_values(trained, samples)
    return ProbeRows(table, expected, sample_rows, _unseen(trained, samples), missing)


def stacked(first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    """Put the rows of `second` under those of `first`."""
    return {name: np.concatenate([array, second[name]]) for name, array in first.items()}


def _most_drawn(table: Table) -> int:
    """Return how many rows of a network are drawn at most: fewer of images than of tables."""
    if table.kind != "named":
        return DRAWN_ROWS
    values = sum(array[:1].size for array in table.arrays.values())
    return min(_DRAWN_FOR_NETWORKS, max(_MIN_ROWS, _VALUES_FOR_NETWORKS // max(1, values)))


def _rows_are_independent(table: Table, expected: Mapping[str, Array]) -> bool:
    """Return whether each row has its own answer, and a framework is at hand to answer other rows."""
    if not table.drawable:
        return False
    sizes = {len(array) for array in (*table.arrays.values(), *expected.values()) if array.ndim}
    return len(sizes) == 1 and all(array.ndim for array in expected.values())


def _unseen(trained: TrainedModel, samples: Table) -> tuple[Unseen, ...]:
    """Gather rows with a value that no sample has, and the framework's answers for them."""
    return _answered(trained, sampling.unseen(samples))


def _answered(trained: TrainedModel, tables: Iterator[tuple[str, Table]]) -> tuple[Unseen, ...]:
    gathered = []
    for title, rows in tables:
        try:
            gathered.append(Unseen(title, rows, trained.outputs(rows)))
        except SamplesRefused:
            gathered.append(Unseen(title, rows, None))
    return tuple(gathered)
