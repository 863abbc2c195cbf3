"""Accuracy by slices of logged requests that have a label: by the categories or bins of some columns.

Reads a log. The slices of a column are the cells of the reference profile, so that they are the same whenever
one looks. Tests nothing: an interval stands beside each number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lading.errors import InputUnknown
from lading.monitor.baseline import labelled_batches
from lading.monitor.decay import bernoulli_interval
from lading.monitor.log.reader import LogReader
from lading.monitor.status import MetricStatus
from lading.profile import FIRST, ColumnProfile, Profile
from lading.profile.cells import Cells
from lading.profile.columns import measured
from lading.signature import Signature
from lading.signature.tensor import list_names

_LEVEL = 0.05
_LEAST_ROWS = 20
"""A slice of fewer labelled rows is left out: its interval says nothing."""


def slice_metrics(  # noqa: PLR0913 - what to read of the log, each with its own meaning
    log: LogReader,
    model: str,
    signature: Signature,
    labels: Mapping[str, str],
    profile: Profile,
    columns: Sequence[str],
    period: tuple[float, float],
    *,
    version: int | None = None,
) -> tuple[MetricStatus, ...]:
    """Return the accuracy by the cells of `columns` between two Unix times, the worst slice first.

    Of one `version`, or of all.

    Raises `InputUnknown` for a name that is no column of the inputs, `NotFound` if the log has nothing.
    """
    chosen = [_column(profile, name) for name in columns]
    tensors = {tensor.name: tensor for tensor in signature.inputs}
    cells = [Cells(column) for column in chosen]
    totals = [np.zeros((2, each.size), np.int64) for each in cells]  # labelled, right
    for batch in labelled_batches(log, model, signature, labels, *period, version=version):
        assert batch.right is not None  # Batches without a label are left out.
        known = batch.right >= 0  # Feedback names some rows of a request, and others never.
        for column, each, total in zip(chosen, cells, totals, strict=True):
            data = measured(column, batch.inputs[column.tensor], tensors[column.tensor])
            at = each.of(data)[known]
            total[0] += np.bincount(at, minlength=each.size)
            total[1] += np.bincount(at, weights=batch.right[known], minlength=each.size).astype(np.int64)
    slices = [
        _metric(column, cell, int(total[0, cell]), int(total[1, cell]))
        for column, total in zip(chosen, totals, strict=True)
        for cell in range(total.shape[1])
        if total[0, cell] >= _LEAST_ROWS
    ]
    return tuple(sorted(slices, key=lambda metric: metric.value))


def _column(profile: Profile, name: str) -> ColumnProfile:
    for column in profile.inputs:
        if column.name == name:
            return column
    names = [column.name for column in profile.inputs]
    raise InputUnknown(f"column `{name}`", expected=list_names(names), found=f"`{name}`")


def _metric(column: ColumnProfile, cell: int, labelled: int, right: int) -> MetricStatus:
    lower, upper = bernoulli_interval(right, labelled - right, _LEVEL)
    return MetricStatus(
        kind="accuracy",
        value=right / labelled,
        lower=lower,
        upper=upper,
        rows=labelled,
        labelled=labelled,
        slice=slice_name(column, cell),
    )


def slice_name(column: ColumnProfile, cell: int) -> str:
    """Return what people call a cell of a column as a slice: ``region = north``, ``age ≤ 30``."""
    return f"{column.name}{' ' if column.is_binned and cell >= FIRST else ' = '}{column.label(cell)}"
