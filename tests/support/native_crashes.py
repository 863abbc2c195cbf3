"""Node tests whose mutations ended ONNX Runtime with a signal, each with a live version that answers.

ONNX Runtime 1.31 takes a negative `batch_dims` of GatherND as it is, and runs a GRU of no steps; a campaign
of mutations (`scripts/mutate_models.py`) found them. The ONNX checker accepts every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle
from lading.signature import Signature, Tensor
from support.onnx_graphs import bundle_of, graph, node, tensor

Inputs = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class NativeCrash:
    """A model that crashes on its golden rows, and one of the same signature that does not."""

    name: str
    live: Callable[[Path], Bundle]
    crashing: Callable[[Path], Bundle]


_CUBE = np.arange(8, dtype="int32").reshape(2, 2, 2)
_ODD_CUBE = np.array([0, 1, 2, 3, 4, 0, -1, 1000003], "int32").reshape(2, 2, 2)
_PAIRS = np.array([[1], [0]], "int64")


def _gather(name: str, batch_dims: int, data: Any = _CUBE, indices: Any = _PAIRS) -> NativeCrash:
    """Return GatherND with a `batch_dims` that it does not check."""
    sizes = (data.shape, indices.shape) if data.size else (("rows", 2, 2), indices.shape)
    inputs = tensor("data", "int32", *sizes[0]), tensor("indices", "int64", *sizes[1])
    shape = (2, 2) if indices.ndim == 2 else (2,)
    output = tensor("output", "int32", *shape)

    def bundle(folder: Path, chosen: int, rows: Inputs, outputs: Inputs | None) -> Bundle:
        nodes = [node("GatherND", "data indices", "output", batch_dims=chosen)]
        return _bundle(folder, name, nodes, inputs, output, rows, outputs, opset=13, ir=7)

    answers = {"output": np.zeros(shape, "int32")}
    return NativeCrash(
        name,
        lambda folder: bundle(folder, indices.ndim - 1, {"data": _CUBE, "indices": indices}, None),
        lambda folder: bundle(folder, batch_dims, {"data": data, "indices": indices}, answers),
    )


def _no_steps(name: str, width: int, value: float, **attributes: Any) -> NativeCrash:
    """Return a GRU whose golden sequence is empty."""
    directions = 2 if attributes else 1
    inputs = (
        tensor("X", "float32", "steps", width, 2),
        tensor("W", "float32", directions, 15, 2),
        tensor("R", "float32", directions, 15, 5),
    )
    output = tensor("Y_h", "float32", directions, width, 5)
    weights = {
        "W": np.full((directions, 15, 2), value, "float32"),
        "R": np.full((directions, 15, 5), value, "float32"),
    }

    def bundle(folder: Path, steps: int, outputs: Inputs | None) -> Bundle:
        nodes = [node("GRU", "X W R", "Y Y_h", hidden_size=5, **attributes)]
        rows = {"X": np.ones((steps, width, 2), "float32"), **weights}
        return _bundle(folder, name, nodes, inputs, output, rows, outputs, opset=22, ir=10)

    answers = {"Y_h": np.zeros((directions, width, 5), "float32")}
    return NativeCrash(
        name, lambda folder: bundle(folder, 3, None), lambda folder: bundle(folder, 0, answers)
    )


def _bundle(
    folder: Path,
    name: str,
    nodes: list[Any],
    inputs: tuple[Tensor, ...],
    output: Tensor,
    rows: Inputs,
    outputs: Inputs | None,
    **versions: int,
) -> Bundle:
    model = graph(nodes, inputs, [output], **versions)
    return bundle_of(folder, model, Signature(inputs, (output,)), rows, outputs=outputs, name=name)


NATIVE_CRASHES = (
    _gather("gather-least", -(2**63)),
    _gather("gather-empty", -(2**63), data=np.zeros((0, 2, 2), "int32")),
    _gather("gather-flat", -(2**31), indices=np.array([1, 0], "int64")),
    _gather("gather-odd", -(2**31), data=_ODD_CUBE),
    _gather("gather-two", -2),
    _no_steps("gru", 3, 0.1),
    _no_steps("gru-both-ways", 1, 0.5, direction="bidirectional"),
)
"""One of each model that crashed; two more differed from one of these in nothing."""
