"""The rows on which a conversion is tried, and what the framework answers for them.

Compares nothing. Every row that is not a sample comes from `draws`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lading.convert import Table, TrainedModel
from lading.errors import SamplesRefused
from lading.pack import sampling as draws
from lading.signature import Array

MAX_GIVEN_ROWS = 20_000
"""Samples beyond this many are left out of the proof, by a seeded choice."""
DRAWN_ROWS = 6_000
MAX_VALUES = 20_000_000
_FEW_ROWS = 8

Note = Callable[[str], None]


@dataclass(frozen=True)
class Unseen:
    """Rows with a value that no sample has; ``expected`` is None where the framework refuses them."""

    title: str
    table: Table
    expected: dict[str, Array] | None


@dataclass(frozen=True)
class Trial:
    """Rows and what the framework answered for them; the first `given` are samples, the others were drawn.

    What lies `beyond` the samples is compared where the signature of a conversion lets it in at all.
    """

    table: Table
    expected: dict[str, Array]
    given: int
    beyond: tuple[Unseen, ...] = ()

    def samples(self) -> tuple[Table, dict[str, Array]]:
        """Return the samples alone, and what the framework answered for them."""
        if self.given == self.table.rows:
            return self.table, self.expected
        table = self.table.take(np.arange(self.given))
        return table, {name: array[: self.given] for name, array in self.expected.items()}


def gather(trained: TrainedModel, table: Table, tell: Note) -> Trial:
    """Gather the rows to compare: the samples, and rows drawn between them if the framework answers those."""
    head = trained.outputs(table.take(np.arange(min(2, table.rows)))) if table.kind != "named" else {}
    # An answer of a million columns (hashed texts) is compared on fewer rows, so that it fits into memory.
    width = max([1, *(np.size(array[0]) for array in head.values())])
    most = min(MAX_GIVEN_ROWS, max(_FEW_ROWS, MAX_VALUES // width))
    if table.rows > most and head:
        keep = np.sort(np.random.default_rng(draws.SEED).choice(table.rows, most, replace=False))
        tell(f"{most} of {table.rows} samples were compared, chosen by a seeded draw")
        table = table.take(keep)
    expected = trained.outputs(table)
    given = table.rows
    if _rows_apart(table, expected):
        for draw in (draws.between, draws.recombined):
            try:
                drawn = draw(table, min(DRAWN_ROWS, most))
                table, expected = _joined(table, drawn), stacked(expected, trained.outputs(drawn))
            except SamplesRefused as error:
                tell(f"{trained.title} does not answer rows drawn between the samples ({error.found})")
                continue
            break
    return Trial(table, expected, given, _beyond(trained, table.take(np.arange(given))))


def _rows_apart(table: Table, expected: Mapping[str, Array]) -> bool:
    """Return whether others can be drawn between the rows, and a framework is there to answer them."""
    if table.kind == "named":
        return False
    sizes = {len(array) for array in (*table.arrays.values(), *expected.values()) if array.ndim}
    return len(sizes) == 1 and all(array.ndim for array in expected.values())


def _beyond(trained: TrainedModel, table: Table) -> tuple[Unseen, ...]:
    """Gather rows with a value that no sample has, and what the framework makes of them."""
    if table.kind == "named":
        return ()
    found = []
    for title, rows in draws.unseen(table):
        try:
            found.append(Unseen(title, rows, trained.outputs(rows)))
        except SamplesRefused:
            found.append(Unseen(title, rows, None))
    return tuple(found)


def _joined(first: Table, second: Table) -> Table:
    return first.with_arrays(stacked(first.arrays, second.arrays))


def stacked(first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    """Put the rows of `second` under those of `first`."""
    return {name: np.concatenate([array, second[name]]) for name, array in first.items()}
