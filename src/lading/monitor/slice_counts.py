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
    label = label_output(manifest.signature.outputs)
    if label is None:
        raise UsageError(where, expected="a model that names a class for each row", found="another one")
    tensors = {tensor.name: tensor for tensor in manifest.signature.inputs}
    cells = [Cells(column) for column in columns]
    totals = [np.zeros((2, each.size), np.int64) for each in cells]  # wrong, right
    sliced = [tensor for name, tensor in tensors.items() if name in {column.tensor for column in columns}]
    for batch in newly_labelled(log, version.name, since, until, version.digest):
        for inputs, right in _rows(batch, manifest.signature, sliced, label, manifest.labels):
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


def _rows(
    batch: pa.RecordBatch,
    signature: Signature,
    sliced: Sequence[Tensor],
    label: Tensor,
    names: Mapping[str, str],
) -> Iterator[_Rows]:
    answers = batch.column("outputs")
    # Callers may ask for other outputs only: whether such a row was right is not known.
    if not batch.num_rows or label not in present(answers, signature.outputs):
        return
    whole = complete_rows(batch.column("inputs"), sliced, signature.inputs)
    whole &= complete_rows(answers, [label], signature.outputs)
    usable = batch.filter(pa.array(whole))
    for indices, inputs in arrays_of(usable.column("inputs"), sliced, signature.inputs):
        part = usable.take(pa.array(indices))
        for rows, outputs in arrays_of(part.column("outputs"), [label], signature.outputs):
            truths = part.take(pa.array(rows)).column("label").to_pylist()
            right = right_of([label], names, outputs, truths)
            if right is not None:
                yield {name: array[rows] for name, array in inputs.items()}, right


def _named(column: ColumnProfile, total: Array) -> Iterator[tuple[str, tuple[int, int]]]:
    for cell in range(total.shape[1]):
        wrong, right = int(total[0, cell]), int(total[1, cell])
        if wrong + right:
            yield slice_name(column, cell), (wrong, right)
