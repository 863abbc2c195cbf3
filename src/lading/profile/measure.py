"""Measures the profile of rows: kinds, extremes, bins and categories, and the counts in them.

The cells of a column are chosen by rows drawn evenly, at most a million; then all rows are counted, a part
at a time, so that memory does not grow with them. Runs no model and reads no file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from lading.profile import (
    SMALLEST_CATEGORY,
    Calibration,
    ColumnProfile,
    Kind,
    Profile,
    Source,
)
from lading.profile.cells import Cells, bins_for, quantile_bounds
from lading.profile.columns import CONFIDENCE, all_sources, measured, values
from lading.profile.columns import Source as Column
from lading.profile.texts import are_times, text_numbers
from lading.signature import Array, Signature, Tensor

MOST_CATEGORIES = 200
_FEW_INTEGERS = 20
_LONGEST_CATEGORY = 200
_COVERED = {"category": 0.8, "integer": 0.95}
"""Values are categories if those that are frequent enough make up this share of the rows."""

_MOST_ROWS = 1_000_000
_MOST_VALUES = 2**26  # of all columns, to choose cells by: half a gigabyte of float64
_VALUES_AT_ONCE = 2**22


class Batch(NamedTuple):
    """Some rows: arrays of the signature, rows first, and whether each was predicted right.

    ``right`` is 1 or 0 for each row, -1 for one without a label, and None if none has one.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array] = {}
    right: Array | None = None


def measure(
    signature: Signature,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array] | None = None,
    *,
    source: Source = "reference",
    right: Sequence[bool] | Array | None = None,
) -> Profile:
    """Return the profile of rows: `inputs` and `outputs` as arrays of the signature, rows first.

    `right` says for each row whether it was predicted right; then the profile has a calibration, if the
    model has probabilities. Tensors that are not passed have no columns.
    """
    whole = Batch(inputs, outputs or {}, None if right is None else np.asarray(right, np.int8))
    return measure_batches(
        signature, lambda: _parts(signature, whole), _rows(signature, whole), source=source
    )


def measure_batches(
    signature: Signature,
    batches: Callable[[], Iterable[Batch]],
    rows: int = 0,
    *,
    source: Source = "reference",
) -> Profile:
    """Return the profile of about `rows` rows that come in batches; `batches` is called twice.

    The first time, every so many-th row is kept of each column to choose its cells by; the second time all
    rows are counted. If it is not known how many there are, such as in a log, they are counted before, in a
    third pass. A batch may lack tensors: a request that failed has no outputs.
    """
    rows = rows or sum(_rows(signature, batch) for batch in batches())
    ins, outs = all_sources(signature)
    tensors = {tensor.name: tensor for tensor in signature.inputs}, {t.name: t for t in signature.outputs}
    drawn: dict[tuple[int, Column], list[Array]] = {}
    most = max(1, min(_MOST_ROWS, _MOST_VALUES // max(1, len(ins) + len(outs))))
    step, seen = max(1, -(-rows // most)), 0
    for batch in batches():
        first = -seen % step
        for side, (columns, arrays) in enumerate(((ins, batch.inputs), (outs, batch.outputs))):
            for column in columns:
                if column.tensor in arrays:
                    tensor = tensors[side][column.tensor]
                    array = arrays[column.tensor]
                    every = array[first::step] if tensor.batched and step > 1 else array
                    drawn.setdefault((side, column), []).append(values(column, every, tensor))
        seen += _rows(signature, batch)
    sides: tuple[list[ColumnProfile], list[ColumnProfile]] = ([], [])
    for (side, column), parts in drawn.items():
        sides[side].append(
            choose_cells(column, tensors[side][column.tensor], np.concatenate(parts), computed=side == 1)
        )
    counting = Counting(
        Profile(rows=0, source=source, inputs=tuple(sides[0]), outputs=tuple(sides[1])), signature
    )
    for batch in batches():
        counting.add(batch, _rows(signature, batch))
    return counting.profile()


def _rows(signature: Signature, batch: Batch) -> int:
    # The model may have failed on the inputs, or nobody has asked for outputs.
    arrays = batch.inputs or batch.outputs
    known = signature.inputs if batch.inputs else signature.outputs
    batched = [arrays[tensor.name] for tensor in known if tensor.name in arrays and tensor.batched]
    return len(batched[0]) if batched else min(1, len(arrays))


def _parts(signature: Signature, whole: Batch) -> Iterator[Batch]:
    """Return the rows a part at a time, so that what is computed of them stays small."""
    rows = _rows(signature, whole)
    tensors = (signature.inputs, signature.outputs)
    if not all(
        tensor.batched
        for own, arrays in zip(tensors, whole, strict=False)
        for tensor in own
        if tensor.name in (arrays or ())
    ):
        yield whole
        return
    sizes = [array.size // max(1, rows) for arrays in whole[:2] for array in arrays.values()]
    size = max(1, _VALUES_AT_ONCE // max(1, *sizes, 1))
    for start in range(0, rows, size):
        cut = slice(start, start + size)
        inputs, outputs = ({name: array[cut] for name, array in arrays.items()} for arrays in whole[:2])
        yield Batch(inputs, outputs, None if whole.right is None else whole.right[cut])


class Counting:
    """Counts rows in the cells of a profile, and measures extremes and means along the way."""

    def __init__(self, profile: Profile, signature: Signature) -> None:
        self._profile = profile
        tensors = [{tensor.name: tensor for tensor in own} for own in (signature.inputs, signature.outputs)]
        self._columns = [
            [_Counted(column, tensors[side][column.tensor]) for column in own]
            for side, own in enumerate((profile.inputs, profile.outputs))
        ]
        self._confidence = next((c for c in self._columns[1] if c.column.summary == CONFIDENCE), None)
        cells = 0 if self._confidence is None else self._confidence.cells.size
        self._calibration = np.zeros((2, cells), np.int64)
        self._rows = self._labelled = self._right = 0

    def add(self, batch: Batch, rows: int) -> None:
        """Count the rows of a batch, which are `rows`."""
        self._rows += rows
        for columns, arrays in zip(self._columns, (batch.inputs, batch.outputs), strict=True):
            for counted in columns:
                if counted.column.tensor in arrays:
                    counted.add(arrays[counted.column.tensor])
        if batch.right is None:
            return
        # A row without a label is -1, and neither right nor wrong.
        known, right = batch.right >= 0, batch.right > 0
        self._labelled += int(known.sum())
        self._right += int(right.sum())
        if self._confidence is not None:
            cells = self._confidence.cells_of(batch.outputs[self._confidence.column.tensor])
            # The share of right answers in each cell of confidence is the calibration.
            for at, which in enumerate((cells[known], cells[right])):
                self._calibration[at] += np.bincount(which, minlength=self._calibration.shape[1])

    def profile(self) -> Profile:
        """Return the profile with what has been counted."""
        calibration = None
        if self._labelled and self._confidence is not None:
            calibration = Calibration(*(tuple(counts) for counts in self._calibration.tolist()))
        inputs, outputs = (tuple(counted.result() for counted in columns) for columns in self._columns)
        return msgspec.structs.replace(
            self._profile,
            rows=self._rows,
            inputs=inputs,
            outputs=outputs,
            calibration=calibration,
            labelled=self._labelled,
            right=self._right,
        )


class _Counted:
    """The counts and moments of one column so far."""

    def __init__(self, column: ColumnProfile, tensor: Tensor) -> None:
        self.column = column
        self.cells = Cells(column)
        self._tensor = tensor
        self._counts = np.zeros(self.cells.size, np.int64)
        self._size, self._mean, self._squares = 0, 0.0, 0.0
        self._least, self._most = math.inf, -math.inf

    def cells_of(self, array: Array) -> Array:
        return self.cells.of(measured(self.column, array, self._tensor))

    def add(self, array: Array) -> None:
        data = measured(self.column, array, self._tensor)
        self._counts += self.cells.counts(data)
        # Texts that are categories have no mean; those measured by length or time have.
        if self.column.kind == "category":
            return
        # Sums of float32 lose digits after some thousand rows.
        numbers = np.asarray(data, np.float64)
        finite = np.isfinite(numbers)
        numbers = numbers if finite.all() else numbers[finite]
        if not len(numbers):
            return
        # Chan, Golub and LeVeque 1979: parts are added without the loss of digits that sums of squares have.
        with np.errstate(over="ignore", invalid="ignore"):
            mean, size = float(numbers.mean()), self._size + len(numbers)
            apart = mean - self._mean
            # Not `apart**2`, which raises where a product is infinite.
            between = apart * apart * self._size * len(numbers) / size
            self._squares += float(numbers.var()) * len(numbers) + between
            self._mean += apart * len(numbers) / size
        self._size = size
        self._least = min(self._least, float(numbers.min()))
        self._most = max(self._most, float(numbers.max()))

    def result(self) -> ColumnProfile:
        moments: dict[str, float] = {}
        if self._size:
            deviation = math.sqrt(self._squares / self._size) if self._squares >= 0 else math.nan
            moments = {"mean": self._mean, "deviation": deviation}
            # Sums of numbers near the end of float64 are beyond it.
            moments = {name: value for name, value in moments.items() if math.isfinite(value)}
            moments |= {"minimum": self._least, "maximum": self._most}
        return msgspec.structs.replace(self.column, counts=tuple(self._counts.tolist()), **moments)


def choose_cells(column: Column, tensor: Tensor, data: Array, *, computed: bool = False) -> ColumnProfile:
    """Return the column with cells that suit `data`, its values in the order of rows, and without counts.

    `computed` is true for values that another machine may round otherwise.
    """
    where = {name: getattr(column, name) for name in ("tensor", "name", "position", "summary")}
    if tensor.dtype == "string":
        return _texts(where, data)
    # Both values, even if the reference has one of them only.
    if data.dtype.kind == "b":
        return _discrete(where, "boolean", [False, True])
    rounded = bool(column.summary) or (computed and data.dtype.kind == "f")
    numbers = np.asarray(data, np.float64)
    present = numbers[np.isfinite(numbers)]
    if rounded:
        # Never categories, which a value either equals or does not.
        return _binned(where, "number", present, computed=True)
    whole = bool(present.size) and bool((present == np.floor(present)).all())
    kind: Kind = "integer" if whole else "number"
    # The one value of a constant column, so that another is seen: a single bin would take all.
    few = _frequent(present, _FEW_INTEGERS if whole else 1)
    return _discrete(where, kind, few) if few else _binned(where, kind, present)


def _frequent(present: Array, most: int) -> list[float]:
    """Return the values of `present` if they are at most so many and nearly all frequent, else nothing."""
    # A look at a few spares sorting most columns.
    if len(np.unique(present[:1000])) > most:
        return []
    distinct, counts = np.unique(present, return_counts=True)
    frequent = counts >= SMALLEST_CATEGORY
    if len(distinct) > most or counts[frequent].sum() < _COVERED["integer"] * max(1, len(present)):
        return []
    return [float(value) for value in distinct[frequent]]


def _discrete(
    where: Mapping[str, Any], kind: Kind, categories: Sequence[float | bool | str]
) -> ColumnProfile:
    return ColumnProfile(**where, kind=kind, values=tuple(categories), counts=(0,) * (2 + len(categories)))


def _binned(where: Mapping[str, Any], kind: Kind, present: Array, *, computed: bool = False) -> ColumnProfile:
    bounds = quantile_bounds(present, bins_for(len(present)), computed=computed)
    return ColumnProfile(**where, kind=kind, bounds=bounds, counts=(0,) * (3 + len(bounds)))


def _texts(where: Mapping[str, Any], data: Array) -> ColumnProfile:
    # An empty text is a missing value, as in the rules of input checks.
    present = [text for text in data.tolist() if text]
    if are_times(present):
        return _binned_texts(where, "timestamp", present)
    frequent = [
        (text, count)
        for text, count in Counter(present).most_common(MOST_CATEGORIES)
        if count >= SMALLEST_CATEGORY and len(text) <= _LONGEST_CATEGORY
    ]
    # Rare texts count as unseen, and may be names or addresses, which no bundle should have.
    if frequent and sum(count for _, count in frequent) >= _COVERED["category"] * len(present):
        return _discrete(where, "category", sorted(text for text, _ in frequent))
    return _binned_texts(where, "text", present)


def _binned_texts(where: Mapping[str, Any], kind: Kind, present: Sequence[str]) -> ColumnProfile:
    numbers = text_numbers(kind, np.array(present, object))
    few = _frequent(numbers, 1)
    return _discrete(where, kind, few) if few else _binned(where, kind, numbers)
