"""Which columns may be missing: those in which the framework takes NaN, shown with NaN in each alone.

Asks only if the samples show a missing value at all, or an encoder was fitted with one: in other data, a
missing value is a mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from lading.convert import Table, TrainedModel
from lading.errors import SamplesRefused
from lading.pack.sampling import SEED
from lading.signature import Array, Signature, Tensor

_MOST_ROWS = 6_000
_ROWS_A_COLUMN = (4, 200)  # least and most
_MOST_WHOLE = 2.0**53  # below it float64 has every integer
_TOGETHER = 0.3  # the share of values that are missing in rows with several


@dataclass(frozen=True, order=True)
class Column:
    """A column of numbers: the array of the table that has it, and its index there."""

    array: str
    at: int


@dataclass(frozen=True)
class MissingValues:
    """Rows with missing values in the columns where the framework takes them, and its answers.

    ``column`` is the index of the one that a row misses, in `columns`; -1 where a row misses several.
    """

    columns: tuple[Column, ...]
    table: Table
    expected: dict[str, Array]
    column: Array  # [rows]

    def rows_of(self, at: int, allowed: Collection[Column]) -> Array:
        """Return the indices of the rows that miss the column `at` (-1: several), all of them `allowed`."""
        kept = self.column == at
        for column in set(self.columns) - set(allowed):
            kept &= ~np.isnan(_values(self.table, column))
        return np.flatnonzero(kept)

    def name(self, at: int) -> str:
        """Return the column `at` of `columns` as a message names it."""
        column = self.columns[at]
        alone = self.table.arrays[column.array].ndim == 1
        return f"column `{column.array}`" if alone else f"column {column.at} of `{column.array}`"


def gather_missing_values(trained: TrainedModel, samples: Table) -> MissingValues | None:
    """Ask the framework, column by column; return None if neither samples nor encoders show a gap."""
    columns = [column for column in _columns(samples) if _held_by_floats(_values(samples, column))]
    if not samples.drawable or not columns or not (samples.has_nan() or samples.knows_missing()):
        return None
    random = np.random.default_rng(SEED + 4)
    least, most = _ROWS_A_COLUMN
    count = max(least, min(most, _MOST_ROWS // len(columns)))
    rows = {column: random.integers(0, samples.rows, count) for column in columns}
    parts = list(_taken(trained, samples, rows, columns))
    taken = [column for accepted, _, _ in parts for column in accepted]
    if not taken:
        return None
    tables, answers = [table for _, table, _ in parts], [expected for _, _, expected in parts]
    marks = np.repeat(np.arange(len(taken)), count)
    together = _with_several(samples, taken, random)
    try:
        answers.append(trained.outputs(together))
    except SamplesRefused:  # it takes one missing value, but not several
        return MissingValues(tuple(taken), _joined(tables), _stacked(answers), marks)
    marks = np.concatenate([marks, np.full(together.rows, -1)])
    return MissingValues(tuple(taken), _joined([*tables, together]), _stacked(answers), marks)


def missing_columns(table: Table) -> set[Column]:
    """Return the columns of a table in which a value is missing."""
    return {column for column in _columns(table) if np.isnan(_values(table, column)).any()}


def with_missing(table: Table, rows: Mapping[Column, Array]) -> Table:
    """Return the rows at the indices of each column, one after another, with NaN in that column."""
    index = np.concatenate([np.asarray(part) for part in rows.values()])
    owner = np.repeat(np.arange(len(rows)), [len(part) for part in rows.values()])
    chosen = table.take(index)
    arrays = dict(chosen.arrays)
    for at, column in enumerate(rows):
        arrays[column.array] = _with_nan(arrays[column.array], column, owner == at)
    return chosen.with_arrays(arrays)


def allowed_columns(signature: Signature, table: Table) -> list[Column]:
    """Return the columns of a table that may be missing by a signature."""
    return [
        column
        for column in _columns(table)
        if (place := place_of(signature, column)) is not None and place[0].at_column(place[1]).allows_nan
    ]


def place_of(signature: Signature, column: Column) -> tuple[Tensor, int] | None:
    """Return the input that a column of the samples is in, and its index there; None for integers."""
    for tensor in signature.inputs:
        if not tensor.dtype.startswith("float"):
            continue
        if column.array in tensor.columns:
            return tensor, tensor.columns.index(column.array)
        if column.array == tensor.name:
            return tensor, column.at
    return None


def allowing(signature: Signature, columns: Collection[Column]) -> Signature:
    """Return the signature whose inputs take NaN in these columns, and in no others."""
    places = [place for column in columns if (place := place_of(signature, column)) is not None]
    inputs = []
    for tensor in signature.inputs:
        at = sorted({index for owner, index in places if owner is tensor})
        width = tensor.shape[-1] if len(tensor.shape) == 2 else 1
        some = () if len(at) == width else tuple(at)
        inputs.append(msgspec.structs.replace(tensor, allows_nan=bool(at), nan_columns=some))
    return msgspec.structs.replace(signature, inputs=tuple(inputs))


def _taken(
    trained: TrainedModel, samples: Table, rows: Mapping[Column, Array], columns: Sequence[Column]
) -> Iterator[tuple[Sequence[Column], Table, dict[str, Array]]]:
    """Return the columns that the framework takes as missing, in groups: if it refuses, halves are tried."""
    table = with_missing(samples, {column: rows[column] for column in columns})
    try:
        expected = trained.outputs(table)
    except SamplesRefused:
        if len(columns) > 1:
            half = len(columns) // 2
            yield from _taken(trained, samples, rows, columns[:half])
            yield from _taken(trained, samples, rows, columns[half:])
        return
    yield columns, table, expected


def _with_several(samples: Table, columns: Sequence[Column], random: np.random.Generator) -> Table:
    rows = _ROWS_A_COLUMN[1]
    chosen = samples.take(random.integers(0, samples.rows, rows))
    arrays = dict(chosen.arrays)
    for column in columns:
        arrays[column.array] = _with_nan(arrays[column.array], column, random.random(rows) < _TOGETHER)
    return chosen.with_arrays(arrays)


def _columns(table: Table) -> Iterator[Column]:
    """Return the columns of numbers, of tables whose arrays have rows and columns."""
    for name, array in table.arrays.items():
        if array.dtype.kind in "iuf" and array.ndim <= 2:
            width = array.shape[1] if array.ndim == 2 else 1
            yield from (Column(name, at) for at in range(width))


def _held_by_floats(values: Array) -> bool:
    """Return whether float64, the dtype with NaN, has each value: not if one has 17 digits."""
    return values.dtype.kind == "f" or bool((np.abs(values.astype(np.float64)) < _MOST_WHOLE).all())


def _values(table: Table, column: Column) -> Array:
    array = table.arrays[column.array]
    return array.reshape(len(array), -1)[:, column.at]


def _with_nan(array: Array, column: Column, rows: Array) -> Array:
    changed = array.astype(array.dtype if array.dtype.kind == "f" else np.float64)  # a copy
    changed.reshape(len(changed), -1)[rows, column.at] = np.nan
    return changed


def _joined(tables: Sequence[Table]) -> Table:
    return tables[0].with_arrays(_stacked([table.arrays for table in tables]))


def _stacked(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
