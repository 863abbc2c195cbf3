"""Whether the answer to a row depends on the other rows of its request, by operators and by trial.

Decides nothing: a model whose rows depend on each other is packed so that it is never merged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lading.convert import graph, onnx_draws
from lading.errors import ConverterFailed
from lading.signature import Array

# They take the scale of their integers from all values of a run (ONNX operators, `DynamicQuantizeLinear`).
_FROM_ALL_ROWS = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")
_ROWS_ALONE = 6
# As for parity: a ten-thousandth of a number, or a hundred-thousandth of what is usual in its output.
_RTOL, _ATOL = 1e-4, 1e-5


def row_dependence(model: Any, run: graph.Evaluate, inputs: Mapping[str, Array]) -> str | None:
    """Return how the rows of `inputs` depend on each other, as a sentence; None if they do not.

    `inputs` all have rows first. Raises `ConverterFailed` if the same input gets two answers.
    """
    nodes = (node for part in (model.graph, *model.functions) for node in graph.all_nodes(part))
    operators = sorted({node.op_type for node in nodes} & {*_FROM_ALL_ROWS})
    if operators:
        return f"`{operators[0]}` takes its scale from all rows of a run"
    rows = len(next(iter(inputs.values())))
    few = {name: array[np.arange(max(2, min(rows, _ROWS_ALONE))) % rows] for name, array in inputs.items()}
    for tried in (few, onnx_draws.scaled(few)):
        try:
            largest = _largest_difference(run, tried)
        except ConverterFailed:
            continue  # What the model does not take says nothing of its rows.
        if largest is not None:
            name, difference = largest
            return f"output `{name}` of a row differs by up to {difference:.2g} alone and among others"
    return None


def is_random(run: graph.Evaluate, inputs: Mapping[str, Array]) -> str | None:
    """Return the output that differs between two runs of the same inputs, or None."""
    first, second = run(inputs), run(inputs)
    return next((name for name, array in first.items() if excess(array, second[name]) is not None), None)


def rounding(answers: Mapping[str, Array], others: Mapping[str, Array]) -> float:
    """Return the largest difference between the numbers of two runs of the same inputs."""
    largest = 0.0
    for name, array in answers.items():
        if array.dtype.kind == "f" and array.shape == others[name].shape:
            with np.errstate(invalid="ignore"):
                difference = np.abs(array.astype(np.float64) - others[name])
            largest = max(largest, float(np.max(difference[np.isfinite(difference)], initial=0.0)))
    return largest


def _largest_difference(run: graph.Evaluate, inputs: Mapping[str, Array]) -> tuple[str, float] | None:
    together = run(inputs)
    rows = len(next(iter(inputs.values())))
    differences = [
        (name, difference)
        for row in range(rows)
        for name, difference in _differences(
            together, run({name: array[row : row + 1] for name, array in inputs.items()}), row, rows
        )
    ]
    return max(differences, key=lambda found: found[1]) if differences else None


def _differences(
    together: Mapping[str, Array], alone: Mapping[str, Array], row: int, rows: int
) -> Iterator[tuple[str, float]]:
    for name, array in together.items():
        if array.shape[:1] != (rows,):
            continue  # Not an output of rows: the signature shows it, and nothing is merged then.
        difference = excess(array[row : row + 1], alone[name], usual_size(array))
        if difference is not None:
            yield name, difference


def excess(array: Array, other: Array, usual: float = 0.0) -> float | None:
    """Return the largest difference that is more than rounding, or None if there is none."""
    if array.shape != other.shape:
        return float("inf")
    if array.dtype.kind != "f":
        return None if np.array_equal(array, other) else float("inf")
    wide, narrow = array.astype(np.float64), other.astype(np.float64)
    if np.allclose(narrow, wide, rtol=_RTOL, atol=_ATOL * usual, equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.abs(narrow - wide), initial=0.0))


def usual_size(array: Array) -> float:
    """Return the median size of the numbers of an output, 0 if it has none."""
    known = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else array[:0]
    return float(np.median(known)) if known.size else 0.0
