"""Measures the profile of rows: kinds, extremes, bins and categories, and the counts in them.

Runs no model and reads no file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

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
from lading.profile.columns import CONFIDENCE, all_sources, values
from lading.profile.columns import Source as Column
from lading.signature import Array, Signature, Tensor

MOST_CATEGORIES = 200
_FEW_INTEGERS = 20
_LONGEST_CATEGORY = 200
_COVERED = 0.8
"""Texts are categories if those that are frequent enough make up this share of the rows."""


def measure(
    signature: Signature,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array] | None = None,
    *,
    source: Source = "reference",
    right: Sequence[bool] | None = None,
) -> Profile:
    """Return the profile of rows: `inputs` and `outputs` as arrays of the signature, rows first.

    `right` says for each row whether it was predicted right; then the profile has a calibration, if the
    model has probabilities. Outputs that are not passed have no columns.
    """
    ins, outs = all_sources(signature)
    by_name = {tensor.name: tensor for tensor in signature.inputs}
    in_columns = _measured(ins, by_name, inputs)
    out_columns: list[ColumnProfile] = []
    if outputs is not None:
        of_outputs = {tensor.name: tensor for tensor in signature.outputs if tensor.name in outputs}
        present = [column for column in outs if column.tensor in of_outputs]
        out_columns = _measured(present, of_outputs, outputs)
    first = signature.inputs[0]
    rows = len(inputs[first.name]) if first.batched else 1
    calibration = _calibration(signature, out_columns, outputs or {}, right)
    return Profile(
        rows=rows,
        source=source,
        inputs=tuple(in_columns),
        outputs=tuple(out_columns),
        calibration=calibration,
    )


def _measured(
    columns: Sequence[Column], tensors: Mapping[str, Tensor], arrays: Mapping[str, Array]
) -> list[ColumnProfile]:
    return [
        _column(column, tensors[column.tensor], values(column, arrays[column.tensor], tensors[column.tensor]))
        for column in columns
    ]


def _column(column: Column, tensor: Tensor, data: Array) -> ColumnProfile:
    where = {
        "tensor": column.tensor,
        "name": column.name,
        "position": column.position,
        "summary": column.summary,
    }
    if tensor.dtype == "string" and not column.summary:
        return _texts(where, data)
    if data.dtype.kind == "b":
        return _discrete(where, "boolean", data.astype(np.float64), [False, True])
    return _numbers(where, data)


def _numbers(where: dict[str, Any], data: Array) -> ColumnProfile:
    numbers = np.asarray(data, np.float64)
    present = numbers[np.isfinite(numbers)]
    whole = bool(present.size) and not where["summary"] and bool((present == np.floor(present)).all())
    if whole:
        distinct = np.unique(present)
        if len(distinct) <= _FEW_INTEGERS:
            counted = [float(value) for value in distinct if (present == value).sum() >= SMALLEST_CATEGORY]
            if counted:
                return _discrete(where, "integer", numbers, counted)
    return _binned(where, "integer" if whole else "number", numbers, numbers)


def _discrete(
    where: dict[str, Any], kind: Kind, numbers: Array, categories: Sequence[float | bool]
) -> ColumnProfile:
    column = ColumnProfile(
        **where, kind=kind, values=tuple(categories), counts=(0,) * (2 + len(categories)), **_moments(numbers)
    )
    return _counted(column, numbers)


def _binned(where: dict[str, Any], kind: Kind, numbers: Array, shown: Array) -> ColumnProfile:
    present = numbers[np.isfinite(numbers)]
    bounds = quantile_bounds(present, bins_for(len(present))) if len(present) else ()
    counts = (0,) * (3 + len(bounds))
    return _counted(
        ColumnProfile(**where, kind=kind, bounds=bounds, counts=counts, **_moments(shown)), numbers
    )


def _texts(where: dict[str, Any], data: Array) -> ColumnProfile:
    texts = data.tolist()
    frequent = [
        (text, count)
        for text, count in Counter(text for text in texts if text).most_common(MOST_CATEGORIES)
        if count >= SMALLEST_CATEGORY and len(text) <= _LONGEST_CATEGORY
    ]
    present = sum(1 for text in texts if text)
    if frequent and sum(count for _, count in frequent) >= _COVERED * present:
        names = tuple(sorted(text for text, _ in frequent))
        column = ColumnProfile(**where, kind="category", values=names, counts=(0,) * (2 + len(names)))
        return _counted(column, data)
    times = text_numbers("timestamp", data)
    parsed = int(np.isfinite(times).sum())
    if present and parsed == present:
        return _binned(where, "timestamp", times, times)
    lengths = text_numbers("text", data)
    return _binned(where, "text", lengths, lengths)


def text_numbers(kind: str, data: Array) -> Array:
    """Return what is measured of texts that are no categories: their lengths, or their times.

    NaN is a missing text, infinity one that is no time: it is counted as unseen.
    """
    if kind == "text":
        return np.array([len(text) or math.nan for text in data.tolist()], np.float64)
    return np.array([_unix_time(text) if text else math.nan for text in data.tolist()], np.float64)


def _unix_time(text: str) -> float:
    try:
        return float(np.datetime64(text.rstrip("Z"), "us").astype(np.int64)) / 1e6
    except ValueError:
        return math.inf


def _moments(numbers: Array) -> dict[str, float]:
    present = numbers[np.isfinite(numbers)]
    if not len(present):
        return {}
    return {
        "minimum": float(present.min()),
        "maximum": float(present.max()),
        "mean": float(present.mean()),
        "deviation": float(present.std()),
    }


def _counted(column: ColumnProfile, data: Array) -> ColumnProfile:
    counts = Cells(column).counts(data)
    return msgspec.structs.replace(column, counts=tuple(int(count) for count in counts))


def _calibration(
    signature: Signature,
    columns: Sequence[ColumnProfile],
    outputs: Mapping[str, Array],
    right: Sequence[bool] | None,
) -> Calibration | None:
    column = next((column for column in columns if column.summary == CONFIDENCE), None)
    if right is None or column is None:
        return None
    tensor = next(tensor for tensor in signature.outputs if tensor.name == column.tensor)
    data = values(
        Column(column.tensor, column.name, column.position, column.summary), outputs[tensor.name], tensor
    )
    cells = Cells(column).of(data)
    hits = np.bincount(cells, weights=np.asarray(right, np.float64), minlength=len(column.counts))
    rows = np.bincount(cells, minlength=len(column.counts))
    return Calibration(tuple(map(int, rows)), tuple(map(int, hits)))
