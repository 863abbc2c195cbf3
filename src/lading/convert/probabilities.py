"""Probabilities that stay within 0 and 1: a graph whose arithmetic could leave them is clipped at its end.

What stays inside by itself pays nothing. NaN stays NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lading.convert import graph

# Each value of the result is one of the inputs' values.
_MOVES = {"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Gather", "Cast"}
_INSIDE = {"Sigmoid", "Softmax"}
_INSIDE_TRANSFORMS = {b"LOGISTIC", b"SOFTMAX"}
# The opset since which `Clip` takes float64. skl2onnx declares the oldest that has its nodes.
_CLIP = 12
# Multiples of this have exact sums up to one in float64.
_UNIT = 2.0**-52


def keep_inside(model: Any, name: str) -> None:
    """Clip the graph's value `name` to 0 and 1, unless what makes it cannot leave that range."""
    makers = {output: node for node in model.graph.node for output in node.output if output}
    if name not in makers or _stays_inside(makers, name):
        return
    before = graph.free_name(model, "unbounded")
    for node in model.graph.node:
        graph.rename_in_node(node, {name: before})
    (elem_type,) = {value.type.tensor_type.elem_type for value in model.graph.output if value.name == name}
    onnx = graph.import_onnx()
    dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
    lower, upper = (graph.constant(model, np.array(bound, dtype=dtype)) for bound in (0, 1))
    (opset,) = (opset.version for opset in model.opset_import if not opset.domain)
    if opset >= _CLIP:
        last = onnx.helper.make_node("Clip", [before, lower, upper], [name])
    else:
        last = onnx.helper.make_node("Min", [graph.append(model, "Max", [before, lower]), upper], [name])
    model.graph.node.append(last)


def _stays_inside(makers: Mapping[str, Any], name: str) -> bool:
    node = makers.get(name)
    if node is None:
        return False
    if node.op_type in _INSIDE:
        return True
    if node.op_type == "Normalizer":  # a part is never above the sum of all, not when rounded either
        norm = [attribute.s for attribute in node.attribute if attribute.name == "norm"]
        return norm == [b"L1"] and _stays_inside(makers, node.input[0])
    if node.op_type in _MOVES:
        values = node.input if node.op_type == "Concat" else node.input[:1]
        return all(_stays_inside(makers, value) for value in values)
    if node.op_type in ("TreeEnsembleClassifier", "LinearClassifier"):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        transform = attributes.get("post_transform")
        if transform is not None and transform.s in _INSIDE_TRANSFORMS:
            return True
        return node.op_type == "TreeEnsembleClassifier" and _sums_to_one(attributes)
    return False


def _sums_to_one(attributes: Mapping[str, Any]) -> bool:
    """Return whether no sum of one leaf per tree is below 0 or, as it is computed, above 1."""
    if any(name.startswith("base_values") for name in attributes):
        return False
    trees = np.asarray(attributes["class_treeids"].ints)  # [weights]
    exact = attributes.get("class_weights_as_tensor")
    if exact is not None:
        weights = graph.import_onnx().numpy_helper.to_array(exact.t).astype(np.float64)
    else:
        weights = np.asarray(attributes["class_weights"].floats, dtype=np.float64)
    if not len(trees) or weights.min() < 0:
        return False
    _, at = np.unique(trees, return_inverse=True)
    most = np.zeros(at.max() + 1)  # [trees]
    np.maximum.at(most, at, weights)
    units = weights / _UNIT
    has_exact_sums = len(most) == 1 or bool(exact is not None and (units == np.round(units)).all())
    return has_exact_sums and bool(most.sum() <= 1)
