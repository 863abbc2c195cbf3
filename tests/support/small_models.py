"""Served bundles of small models that the protocols' tests need beside `bundles.linear_bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lading.signature import Signature, Tensor
from support.onnx_graphs import bundle_of, graph, node, tensor

if TYPE_CHECKING:
    from lading.bundle import Bundle

_VALUES: dict[str, list[Any]] = {"string": ["a", "b", "c"], "bool": [True, False, True]}


def half_plus_two(path: Path, name: str = "half") -> Bundle:
    """Write the model of TensorFlow Serving's own examples: ``y = x / 2 + 2``."""
    nodes = [node("Mul", "x half", "h"), node("Add", "h two", "y")]
    inputs, outputs = [tensor("x", "float32", "batch")], [tensor("y", "float32", "batch")]
    constants = {"half": np.array(0.5, np.float32), "two": np.array(2, np.float32)}
    model = graph(nodes, inputs, outputs, constants=constants)
    rows = {"x": np.array([1, 2, 5], np.float32)}
    return bundle_of(path, model, Signature(tuple(inputs), tuple(outputs)), rows, name=name)


def echo(path: Path, name: str, dtype: str = "float32", output: str = "y") -> Bundle:
    """Write a model of one value a row, of any dtype, that gives back what it gets."""
    inputs, outputs = [tensor("x", dtype, "batch")], [tensor(output, dtype, "batch")]
    rows = np.array(_VALUES.get(dtype, [1, 2, 3]), inputs[0].numpy_dtype)
    model = graph([node("Identity", "x", output)], inputs, outputs)
    return bundle_of(path, model, Signature(tuple(inputs), tuple(outputs)), {"x": rows}, name=name)


def echo_with_nan(path: Path, name: str) -> Bundle:
    """Write a model of two float32 columns that gives back what it gets, missing values too."""
    inputs = [Tensor(name="x", dtype="float32", shape=("batch", 2), allows_nan=True)]
    outputs = [tensor("y", "float32", "batch", 2)]
    model = graph([node("Identity", "x", "y")], inputs, outputs)
    rows = {"x": np.array([[1, 2], [3, np.nan]], np.float32)}
    return bundle_of(path, model, Signature(tuple(inputs), tuple(outputs)), rows, name=name)


def people(path: Path, name: str = "people") -> Bundle:
    """Write a model with two inputs: float32 `age` and string `city`, both ``[batch, 1]``."""
    inputs = [tensor("age", "float32", "batch", 1), tensor("city", "string", "batch", 1)]
    outputs = [tensor("value", "float32", "batch", 1), tensor("where", "string", "batch", 1)]
    model = graph([node("Identity", "age", "value"), node("Identity", "city", "where")], inputs, outputs)
    rows = {"age": np.array([[1], [2]], np.float32), "city": np.array([["seoul"], ["busan"]], object)}
    return bundle_of(path, model, Signature(tuple(inputs), tuple(outputs)), rows, name=name)
