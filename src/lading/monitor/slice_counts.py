"""How many labelled rows of each slice were answered right, by the hour in which their labels came.

Reads a log, and of a registry what the bundle states. Only the inputs that slices are of need to be logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lading.bundle.manifest import PROFILE_FILE
from lading.errors import UsageError
from lading.monitor.baseline import right_of
from lading.monitor.log.labelled import newly_labelled
from lading.monitor.log.tensors import arrays_of, complete_rows, present
from lading.monitor.sliced import slice_name
from lading.profile import ColumnProfile, Profile
from lading.profile.cells import Cells
from lading.profile.columns import measured
from lading.signature import Array, Signature, Tensor, label_output

if TYPE_CHECKING:
    from lading.bundle import Manifest
    from lading.monitor.log.reader import LogReader
    from lading.registry import ModelVersion, Registry

Counts = dict[str, tuple[int, int]]
"""Wrong and right rows by slice."""

_Rows = tuple[Mapping[str, Array], Array]
"""Inputs of rows that have a label, and whether each was answered right."""


def count_slices(
    registry: Registry, log: LogReader, version: ModelVersion, manifest: Manifest, since: float, until: float
) -> Counts:
    """Return the rows of a version by slice whose labels came between two whole hours; none without rows.

    Raises `UsageError` if the bundle has no such slices, and what `newly_labelled` raises.
    """
    where = f"slices of `{version.ref}`"
    profile = _profile(registry, version, manifest)
    columns = [] if profile is None else [each for each in profile.inputs if each.name in manifest.slices]
    if not columns:
        raise UsageError(where, expected="columns with cells in the profile", found="none")
    naming = list(_naming(manifest.signature.outputs))
    if not naming:
        raise UsageError(where, expected="a model that names a class for each row", found="another one")
    tensors = {tensor.name: tensor for tensor in manifest.signature.inputs}
    cells = [Cells(column) for column in columns]
    totals = [np.zeros((2, each.size), np.int64) for each in cells]  # wrong, right
    sliced = [tensor for name, tensor in tensors.items() if name in {column.tensor for column in columns}]
    for batch in newly_labelled(log, version.name, since, until, version.digest):
        for inputs, right in _rows(batch, manifest.signature, sliced, naming, manifest.labels):
            for column, each, total in zip(columns, cells, totals, strict=True):
                at = each.of(measured(column, inputs[column.tensor], tensors[column.tensor]))
                np.add.at(total, (right.astype(np.intp), at), 1)
    return {
        name: counts
        for column, total in zip(columns, totals, strict=True)
        for name, counts in _named(column, total)
    }


def _profile(registry: Registry, version: ModelVersion, manifest: Manifest) -> Profile | None:
    """Return the profile of a bundle, which is downloaded only if no server has counted by it."""
    file = manifest.files.get(PROFILE_FILE)
    if file is None:
        return None
    return registry.monitoring.profile(f"sha256:{file.sha256}") or registry.fetch(version).profile


def _naming(outputs: Sequence[Tensor]) -> Iterator[Tensor]:
    """Return the outputs that name the class of a row: the label, then scores by class."""
    rest = list(outputs)
    while (tensor := label_output(rest)) is not None:
        yield tensor
        rest.remove(tensor)


def _rows(
    batch: pa.RecordBatch,
    signature: Signature,
    sliced: Sequence[Tensor],
    naming: Sequence[Tensor],
    names: Mapping[str, str],
) -> Iterator[_Rows]:
    if not batch.num_rows:
        return
    answers = batch.column("outputs")
    logged = present(answers, signature.outputs)
    waiting = complete_rows(batch.column("inputs"), sliced, signature.inputs)
    # Callers ask for what they need: of one row the label is known, of another the probabilities alone.
    for tensor in naming:
        if tensor not in logged:
            continue
        whole = waiting & complete_rows(answers, [tensor], signature.outputs)
        waiting = waiting & ~whole
        yield from _judged(batch.filter(pa.array(whole)), signature, sliced, tensor, names)


def _judged(
    records: pa.RecordBatch,
    signature: Signature,
    sliced: Sequence[Tensor],
    naming: Tensor,
    names: Mapping[str, str],
) -> Iterator[_Rows]:
    for indices, inputs in arrays_of(records.column("inputs"), sliced, signature.inputs):
        part = records.take(pa.array(indices))
        for rows, outputs in arrays_of(part.column("outputs"), [naming], signature.outputs):
            truths = part.take(pa.array(rows)).column("label").to_pylist()
            right = right_of([naming], names, outputs, truths)
            if right is not None:
                yield {name: array[rows] for name, array in inputs.items()}, right


def _named(column: ColumnProfile, total: Array) -> Iterator[tuple[str, tuple[int, int]]]:
    for cell in range(total.shape[1]):
        wrong, right = int(total[0, cell]), int(total[1, cell])
        if wrong + right:
            yield slice_name(column, cell), (wrong, right)
