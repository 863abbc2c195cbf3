"""Logged requests through another model: how many of its answers agree with those that were given, and where.

Reads a log and runs a model that someone else has opened and proved. Releases nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lading.bundle import Manifest
from lading.log_frames import field_names
from lading.monitor.log.reader import LogReader
from lading.monitor.log.tensors import arrays_of, complete_rows, present
from lading.parity import Tolerance, excess_by_row
from lading.runtime import Runtime
from lading.signature import Array, Tensor, label_output, named_labels

WORST = 5

_CHUNK_BYTES = 8 * 2**20
_MOST_ROWS = 16_384
_OPEN_SIZE = 256
_SLICED_ROWS = 50_000
_PARTS = 4
_LEAST_IN_SLICE = 20
_COLUMNS = ("id", "row", "time", "version", "inputs", "outputs", "label")


class WorstRow(msgspec.Struct, frozen=True):
    """A record whose answer deviates most; ``excess`` is 1.0 at the tolerance, infinite for a flip."""

    id: str
    row: int
    time: str
    version: int
    logged: dict[str, Any]
    candidate: dict[str, Any]
    excess: float


class Slice(msgspec.Struct, frozen=True):
    """A quarter of the values of one column in which answers differ more often than on the whole."""

    column: str
    low: float
    high: float
    rows: int
    differing: int


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay has shown. Rows are records of the log.

    ``differing`` rows are beyond the tolerance, ``flipped`` ones name another class (None if answers name no
    classes), ``skipped`` ones have no value in a column that the model needs. ``labelled`` rows have a label;
    ``logged_right`` and ``candidate_right`` of them were right.
    """

    rows: int
    differing: int
    flipped: int | None
    skipped: int
    labelled: int
    logged_right: int
    candidate_right: int
    versions: dict[int, int]
    worst: tuple[WorstRow, ...]
    slices: tuple[Slice, ...]

    @property
    def differing_share(self) -> float:
        """The share of the rows that are beyond the tolerance."""
        return self.differing / self.rows if self.rows else 0.0

    @property
    def flipped_share(self) -> float:
        """The share of the rows that name another class."""
        return (self.flipped or 0) / self.rows if self.rows else 0.0


def replay_log(  # noqa: PLR0913 - what to read of the log, each with its own meaning
    log: LogReader,
    model: str,
    manifest: Manifest,
    runtime: Runtime,
    *,
    since: float | None = None,
    until: float | None = None,
    where: str = "",
    limit: int = 0,
    tolerance: Tolerance | None = None,
) -> Replay:
    """Run the logged requests of `model` between two Unix times on `runtime`, and compare the answers.

    Only requests that were answered; copies to a candidate in shadow are left out. `where` is SQL, `limit`
    the most rows (0: all), `tolerance` that of the bundle by default. Takes memory for one chunk of rows.
    Raises `InputMissing` for a column that the log does not have, `NotFound`, `UsageError`, `RunError`.
    """
    # Copies in shadow were answered by a candidate for nobody.
    counts = _Counts(manifest, runtime, tolerance or manifest.tolerance)
    answered = "error IS NULL AND side <> 'shadow'" + (f" AND ({where})" if where else "")
    rows = _chunk_rows(manifest.signature.inputs)
    left = limit or math.inf
    for batch in log.records(model, since, until, _COLUMNS, answered, chunk_rows=rows):
        for start in range(0, batch.num_rows, rows):
            # The last chunk is cut at the limit, so that no row is run that is not counted.
            part = batch.slice(start, int(min(rows, left)))
            counts.add(part)
            left -= part.num_rows
            if left <= 0:
                return counts.result()
    return counts.result()


class _Counts:
    """The counts of a replay so far."""

    def __init__(self, manifest: Manifest, runtime: Runtime, tolerance: Tolerance) -> None:
        self._manifest = manifest
        self._signature = manifest.signature
        self._runtime = runtime
        self._tolerance = tolerance
        self._rows = self._differing = self._skipped = self._flipped = 0
        self._labelled = self._logged_right = self._candidate_right = 0
        self._names_classes = False
        self._versions: dict[int, int] = {}
        self._worst: list[WorstRow] = []
        self._slices = _Slices(self._signature.inputs)

    def add(self, batch: pa.RecordBatch) -> None:
        """Replay the records of one batch."""
        signature, outputs = self._signature, batch.column("outputs")
        usable = complete_rows(batch.column("inputs"), signature.inputs)
        logged = present(outputs, signature.outputs)
        # Callers choose the outputs that they get: which of them a record has, as one number.
        asked = np.zeros(len(batch), np.int64)
        for at, tensor in enumerate(logged):
            asked |= complete_rows(outputs, [tensor], signature.outputs).astype(np.int64) << at
        usable &= asked > 0
        self._skipped += int((~usable).sum())
        for pattern in np.unique(asked[usable]).tolist():
            tensors = [tensor for at, tensor in enumerate(logged) if pattern >> at & 1]
            self._add_alike(batch.filter(pa.array(usable & (asked == pattern))), tensors)

    def _add_alike(self, batch: pa.RecordBatch, tensors: Sequence[Tensor]) -> None:
        """Replay records that have the same outputs."""
        names = [tensor.name for tensor in tensors]
        for indices, arrays in arrays_of(batch.column("inputs"), self._signature.inputs):
            part = batch.take(pa.array(indices))
            answers = self._run(arrays, names)
            for rows, expected in arrays_of(part.column("outputs"), tensors, self._signature.outputs):
                actual = {name: array[rows] for name, array in answers.items()}
                inputs = {name: array[rows] for name, array in arrays.items()}
                self._compare(part.take(pa.array(rows)), inputs, tensors, expected, actual)

    def _run(self, arrays: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
        """Return the answers to records, ``[rows, ...]``; a model without a batch has one for each record."""
        if self._signature.batched:
            return self._runtime.run(arrays, names)
        rows = len(next(iter(arrays.values())))
        each = [
            self._runtime.run({name: array[at] for name, array in arrays.items()}, names)
            for at in range(rows)
        ]
        return {name: np.stack([answer[name] for answer in each]) for name in names}

    def _compare(
        self,
        batch: pa.RecordBatch,
        inputs: Mapping[str, Array],
        tensors: Sequence[Tensor],
        expected: Mapping[str, Array],
        actual: Mapping[str, Array],
    ) -> None:
        # Above 1, an answer is beyond the tolerance: the bundle's own, which its proof was held to.
        excess = excess_by_row(tensors, expected, actual, self._tolerance)
        differs = excess > 1.0
        self._rows += len(batch)
        self._differing += int(differs.sum())
        numbers, counts = np.unique(batch.column("version").to_numpy(), return_counts=True)
        for version, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._versions[version] = self._versions.get(version, 0) + count
        self._slices.add(inputs, differs)
        self._keep_worst(batch, expected, actual, excess)
        label = label_output(tensors)
        if label is not None:
            self._names_classes = True
            self._count_classes(batch, label, expected[label.name], actual[label.name])

    def _count_classes(self, batch: pa.RecordBatch, label: Tensor, expected: Array, actual: Array) -> None:
        names = self._manifest.labels
        before, now = (
            np.array(_flat(named_labels(label, array, names)), dtype=object) for array in (expected, actual)
        )
        self._flipped += int((before != now).sum())
        truth = np.array(batch.column("label").to_pylist(), dtype=object)
        # Labels come late or never: both accuracies are of the same rows, those that have one.
        known = np.array([text is not None for text in truth], dtype=bool)
        self._labelled += int(known.sum())
        self._logged_right += int((before == truth)[known].sum())
        self._candidate_right += int((now == truth)[known].sum())

    def _keep_worst(
        self,
        batch: pa.RecordBatch,
        expected: Mapping[str, Array],
        actual: Mapping[str, Array],
        excess: Array,
    ) -> None:
        # Stable, so that the same log shows the same rows twice.
        for at in np.argsort(-excess, kind="stable")[:WORST].tolist():
            if excess[at] <= 1.0:
                return
            self._worst.append(
                WorstRow(
                    batch.column("id")[at].as_py(),
                    batch.column("row")[at].as_py(),
                    batch.column("time")[at].as_py().isoformat(timespec="milliseconds"),
                    batch.column("version")[at].as_py(),
                    {name: _plain(array[at]) for name, array in expected.items()},
                    {name: _plain(array[at]) for name, array in actual.items()},
                    float(excess[at]),
                )
            )
        # Only a handful is kept, so that memory does not grow with the log.
        self._worst.sort(key=lambda row: -row.excess)
        del self._worst[WORST:]

    def result(self) -> Replay:
        """Return what has been counted."""
        return Replay(
            rows=self._rows,
            differing=self._differing,
            flipped=self._flipped if self._names_classes else None,
            skipped=self._skipped,
            labelled=self._labelled,
            logged_right=self._logged_right,
            candidate_right=self._candidate_right,
            versions=dict(sorted(self._versions.items())),
            worst=tuple(self._worst),
            slices=tuple(self._slices.result()),
        )


class _Slices:
    """Where in the columns answers differ most, from the first rows of a replay."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._fields = {
            tensor.name: names
            for tensor in tensors
            if (names := field_names(tensors)[tensor.name]) and tensor.dtype not in ("string", "bool")
        }
        self._values: list[dict[str, Array]] = []
        self._differs: list[Array] = []
        self._rows = 0

    def add(self, inputs: Mapping[str, Array], differs: Array) -> None:
        """Keep the named columns of some rows."""
        room = _SLICED_ROWS - self._rows
        if room <= 0 or not self._fields:
            return
        values: dict[str, Array] = {}
        for tensor, names in self._fields.items():
            array = inputs[tensor]
            if array.ndim == 2:
                values |= {name: array[:room, at].astype(np.float64) for at, name in enumerate(names)}
        self._values.append(values)
        self._differs.append(differs[:room])
        self._rows += len(differs[:room])

    def result(self) -> Iterator[Slice]:
        """Iterate over the quarters with the largest shares, at most three and one of each column."""
        if not self._differs:
            return
        # The first rows stand for all: what differs in one place rarely does so only later.
        differs = np.concatenate(self._differs)
        overall = differs.mean()
        if not 0 < overall < 1:
            return
        best = []
        for name in self._values[0]:
            values = np.concatenate([part[name] for part in self._values])
            parts = list(_quarters(name, values, differs))
            best += sorted(parts, key=lambda part: -part.differing / part.rows)[:1]
        for part in sorted(best, key=lambda part: -part.differing / part.rows)[:3]:
            # A quarter hardly above the average leads nobody to the cause.
            if part.differing / part.rows > 1.5 * overall:
                yield part


def _quarters(name: str, values: Array, differs: Array) -> Iterator[Slice]:
    present_values = values[~np.isnan(values)]
    if not len(present_values):
        return
    edges = np.unique(np.quantile(present_values, np.linspace(0, 1, _PARTS + 1), method="higher"))
    for low, high in itertools.pairwise(edges):
        within = (values >= low) & ((values < high) | (high == edges[-1]))
        if (rows := int(within.sum())) >= _LEAST_IN_SLICE:
            yield Slice(name, float(low), float(high), rows, int(differs[within].sum()))


def _chunk_rows(tensors: Sequence[Tensor]) -> int:
    # By the size of a row: 16,384 images would be gigabytes.
    values = 0
    for tensor in tensors:
        sizes = tensor.shape[1:] if tensor.batched else tensor.shape
        values += math.prod(size if isinstance(size, int) else _OPEN_SIZE for size in sizes)
    return max(1, min(_MOST_ROWS, _CHUNK_BYTES // (8 * max(1, values))))


def _flat(names: list[Any]) -> list[str]:
    # A label of shape [batch, 1] comes as lists of one.
    return [str(name[0]) if isinstance(name, list) else str(name) for name in names]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
