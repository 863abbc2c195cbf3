"""The outputs of a converted model, brought to the names and shapes of the framework's own.

Only moves, renames and exact casts. The converter computes the numbers, and packing proves them afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lading.convert import graph
from lading.errors import ConverterFailed
from lading.signature import Array, DType, Tensor


def shape_like(
    model: Any,
    title: str,
    pairs: Sequence[tuple[str, str]],
    answers: Mapping[str, Array],
    expected: Mapping[str, Array],
    columns: Mapping[str, tuple[str, ...]],
) -> tuple[Tensor, ...]:
    """Replace the graph's outputs by (`expected` name, graph's name) `pairs` in the expected shapes.

    `answers` are the graph's for the rows of `expected`, the framework's. Raises `ConverterFailed`.
    """
    tensors = []
    for name, own in pairs:
        array, target = answers[own], expected[name]
        value = _reshaped(model, own, array, target)
        if value is None:
            raise ConverterFailed(
                f"output `{name}` of `{title}`",
                expected=f"shape {list(target.shape)} as the framework gives",
                found=f"shape {list(array.shape)} from the converted model",
            )
        dtype = _dtype(array, target)
        if dtype != graph.dtype_of_array(array):
            value = graph.append(model, "Cast", [value], to=graph.elem_type_of(dtype))
        last = graph.import_onnx().helper.make_node("Identity", [value], [final_name(name)])
        model.graph.node.append(last)
        names = columns.get(name, ())
        named = bool(names) and target.ndim > 1 and target.shape[-1] == len(names) == len(set(names))
        shape = ("batch", *target.shape[1:])
        tensors.append(Tensor(name=name, dtype=dtype, shape=shape, columns=names if named else ()))
    graph.declare(model, "output", [_with_final_name(tensor) for tensor in tensors])
    return tuple(tensors)


def final_name(name: str) -> str:
    """Return the value inside the graph that becomes the output `name`."""
    return f"output {name}"


def _with_final_name(tensor: Tensor) -> Tensor:
    return Tensor(name=final_name(tensor.name), dtype=tensor.dtype, shape=tensor.shape)


def _reshaped(model: Any, own: str, array: Array, target: Array) -> str | None:
    """Add the nodes that bring `array` to the shape of `target`, or return None if no exact move does."""
    rows, rest = target.shape[0], target.shape[1:]
    if array.shape == target.shape:
        return own
    # [targets, batch, classes] -> [batch, targets, classes]
    if array.ndim == 3 and array.shape == (target.shape[1:2] + target.shape[:1] + target.shape[2:]):
        return graph.append(model, "Transpose", [own], perm=[1, 0, 2])
    # [batch, 2] -> [batch, 1]: scikit-learn gives one score for two classes, converters both signs of it.
    if array.shape == (rows, 2) and target.size == rows:
        index = graph.constant(model, np.array([1], dtype=np.int64))
        own, array = graph.append(model, "Gather", [own, index], axis=1), array[:, 1:]
    if array.size == target.size:
        shape = graph.constant(model, np.array([-1, *rest], dtype=np.int64))
        return graph.append(model, "Reshape", [own, shape])
    return None


def _dtype(array: Array, target: Array) -> DType:
    """Choose the output's dtype: the graph's own, unless only another kind holds the framework's values."""
    if target.dtype.kind == "b":
        return "bool"
    own = graph.dtype_of_array(array)
    if target.dtype.kind == "f" and array.dtype.kind in "iub":
        return "float32"
    if target.dtype.kind in "iu" and array.dtype.kind in "fiu":
        return "int64"
    return own
