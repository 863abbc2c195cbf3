"""Rows that a graph refuses since chance decides its framework's own answer: nothing can be proved on them.

Which of several rows of training equally far from a row a `KNNImputer` takes depends on the processor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lading.convert.graph import Evaluate, evaluate_rows
from lading.errors import ConverterFailed
from lading.onnx_runtime.refusals import Refused
from lading.signature import Array


def may_be_undecided(model: bytes) -> bool:
    """Return whether a model has a node that refuses such rows."""
    return Refused.EQUALLY_NEAR.node_name("").rstrip("/").encode() in model


def decided_rows(model: bytes, run: Evaluate, inputs: Mapping[str, Array]) -> Array:
    """Mark the rows of `inputs` that `run`, of this model, does not refuse for their being undecided."""
    rows = len(next(iter(inputs.values())))
    decided = np.ones(rows, dtype=bool)
    if not may_be_undecided(model):
        return decided
    parts = [(0, rows)]
    while parts:
        start, end = parts.pop()
        try:
            evaluate_rows(run, {name: array[start:end] for name, array in inputs.items()})
        except ConverterFailed as error:
            if error.expected != Refused.EQUALLY_NEAR.expected:
                raise
            if end - start == 1:
                decided[start] = False
            else:
                middle = (start + end) // 2
                parts += [(start, middle), (middle, end)]
    return decided
