"""What a Python worker of Spark does for `spark_udf`: it proves the bundle once, then answers columns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from lading.batch.casting import Caster
from lading.batch.on_spark.shipping import Shipped
from lading.batch.plan import chunk_rows
from lading.batch.scoring import ROW, output_columns
from lading.batch.tables import Rows
from lading.batch.whole_chunks import WholeChunks
from lading.bundle import Bundle
from lading.bundle.requests import request_signature
from lading.errors import ValueRefused
from lading.row_chunks import FixedChunks
from lading.runtime.open import load_runtime
from lading.runtime.python.host import PythonHost
from lading.signature import Array, Signature
from lading.verify import replay

OnMisfit = Literal["null", "error"]
REASON = "reason"
"""The field that says why a row is not scored."""

_WHERE = "the columns to be scored"
_MOST_PROVED = 2


class _Proved:
    """A bundle that has proved itself in this process."""

    def __init__(self, bundle: Bundle, python: PythonHost) -> None:
        self.signature = bundle.manifest.signature
        self._caster = Caster(request_signature(bundle.manifest, bundle.samples()))
        self.chunk_rows = chunk_rows(self.signature.inputs)
        # As in a batch run: one thread, since how many there are must not decide the bits.
        self._runtime = load_runtime(bundle, threads=1, python=python)
        replay(self._runtime, bundle)

    def fit(
        self, array: pa.StructArray, first: int
    ) -> tuple[dict[str, Array], pa.RecordBatch, dict[int, str]]:
        """Return inputs of rows that fit, their numbers from `first` on, and why the others do not."""
        batch = _batch_of(array)
        columns = self._caster.columns(batch.schema, _WHERE)
        numbers = pa.array(np.arange(first, first + len(batch)))
        fitting = self._caster.cast(Rows(numbers, batch.select(list(dict.fromkeys(columns)))))
        kept = pa.RecordBatch.from_arrays([numbers.take(pa.array(fitting.kept))], [ROW])
        return fitting.inputs, kept, {each.row: each.reason for each in fitting.rejected}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, pa.Array]:
        """Return the columns of the answers."""
        answers = FixedChunks(self.chunk_rows).run(self._runtime.run_whole, inputs)
        return dict(output_columns(self.signature.outputs, answers))

    def close(self) -> None:
        """Release the model."""
        self._runtime.close()


def no_answers(signature: Signature) -> dict[str, pa.Array]:
    """Return the columns of the answers to no rows."""
    empty = {}
    for tensor in signature.outputs:
        # The size of an open dimension shows in no row.
        sizes = (size if isinstance(size, int) else 1 for size in tensor.shape[1:])
        empty[tensor.name] = np.empty((0, *sizes), tensor.numpy_dtype)
    return dict(output_columns(signature.outputs, empty))


_proved: OrderedDict[tuple[str, str], _Proved] = OrderedDict()
"""Bundles by their digests and by what of their own may run, the one used last at the end. Spark keeps its
workers for further tasks, and gives them nothing to keep things in."""


@dataclass(frozen=True)
class ColumnModel:
    """A bundle as the tasks of a query carry it, with what is to be made of its answers."""

    shipped: Shipped
    output: str | None
    on_misfit: OnMisfit
    python: PythonHost

    def answers(self, arrays: Iterator[pa.StructArray]) -> Iterator[pa.Array]:
        """Iterate over the answers to the rows of a partition, as many as it has rows, in their order."""
        first = next(arrays, None)
        if first is None:
            return  # Without rows there is nothing to be proved.
        model = self._proved_here()
        chunks, rows = WholeChunks(model.chunk_rows), _Ordered(self)
        count = 0
        for array in _and_first(first, arrays):
            inputs, kept, reasons = model.fit(array, count)
            count += len(array)
            rows.set_aside(reasons)
            for part, numbers in chunks.add(inputs, kept):
                yield rows.with_answers(numbers, model.run(part))
        for part, numbers in chunks.rest():
            yield rows.with_answers(numbers, model.run(part))
        if rows.next < count:
            yield rows.up_to(count, np.empty(0, np.int64), no_answers(model.signature))

    def _proved_here(self) -> _Proved:
        key = self.shipped.digest, self.python.allow
        if key not in _proved:
            # Two, as a query may compare a model with its successor; more would fill the memory.
            while len(_proved) >= _MOST_PROVED:
                _proved.popitem(last=False)[1].close()
            _proved[key] = _Proved(self.shipped.bundle(), self.python)
        _proved.move_to_end(key)
        return _proved[key]


class _Ordered:
    """Puts answers and rows that have none back into the order of the rows."""

    def __init__(self, of: ColumnModel) -> None:
        self._of = of
        self._reasons: dict[int, str] = {}
        self.next = 0

    def set_aside(self, reasons: Mapping[int, str]) -> None:
        """Note rows that have no answers. Raises `ValueRefused` if that is an error."""
        if reasons and self._of.on_misfit == "error":
            hint = 'with `on_misfit="null"` such rows have no answers'
            raise ValueRefused(f"a row of the frame, {reasons[min(reasons)]}", hint=hint)
        self._reasons |= reasons

    def with_answers(self, numbers: pa.RecordBatch, answers: Mapping[str, pa.Array]) -> pa.Array:
        """Return the outcome of all rows up to the last of those that are answered."""
        at = numbers.column(0).to_numpy()
        return self.up_to(int(at[-1]) + 1, at, answers)

    def up_to(self, end: int, at: Array, answers: Mapping[str, pa.Array]) -> pa.Array:
        """Return the outcome of the further rows before `end`; those `at` are answered."""
        start, self.next = self.next, end
        places = np.zeros(end - start, np.int64)
        missing = np.ones(end - start, bool)
        places[at - start] = np.arange(len(at))
        missing[at - start] = False
        taken = pa.array(places, mask=missing)
        if self._of.output is not None:
            return answers[self._of.output].take(taken)
        columns = {name: array.take(taken) for name, array in answers.items()}
        if self._of.on_misfit == "null":
            why = [self._reasons.pop(row, None) for row in range(start, end)] if self._reasons else None
            columns[REASON] = (
                pa.nulls(end - start, pa.string()) if why is None else pa.array(why, pa.string())
            )
        return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def _batch_of(array: pa.StructArray) -> pa.RecordBatch:
    """Return the fields of a struct as columns; of one that has a struct alone, those of that."""
    fields = [array.type.field(at) for at in range(array.type.num_fields)]
    if len(fields) == 1 and pa.types.is_struct(fields[0].type):
        return _batch_of(array.flatten()[0])
    # Flattened: where the struct itself is null, so are its fields.
    return pa.RecordBatch.from_arrays(array.flatten(), names=[field.name for field in fields])


def _and_first(first: pa.StructArray, arrays: Iterator[pa.StructArray]) -> Iterator[pa.StructArray]:
    yield first
    yield from arrays
