"""Guards in a finished graph: its run fails where the framework raises and ONNX would answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from lading.convert import graph
from lading.onnx_runtime.refusals import Refused

_ML_OPSET = 3


def refuse_negatives(model: Any, name: str) -> None:
    """Let the run fail where the input `name`, of integers, has a negative number.

    `Gather` counts such positions from the end of its table.
    """
    onnx = graph.import_onnx()
    elem = next(value.type.tensor_type.elem_type for value in model.graph.input if value.name == name)
    readers = list(model.graph.node)
    checked = graph.free_name(model, f"{name}_checked")
    for node in readers:
        graph.rename_in_node(node, {name: checked})
    zero = onnx.helper.make_tensor(graph.free_name(model, "zero"), elem, [], [0])
    model.graph.initializer.append(zero)
    first = len(model.graph.node)
    negative = graph.append(model, "Less", [name, zero.name])
    marks = graph.append(model, "Cast", [negative], to=onnx.TensorProto.INT64)
    ones = graph.append(model, "OneHotEncoder", [marks], domain="ai.onnx.ml", cats_int64s=[0], zeros=0)
    model.graph.node[-1].name = f"{Refused.NEGATIVE.node_name(name)}1"
    last = graph.constant(model, np.array([-1], dtype=np.int64))
    flat = graph.append(model, "Squeeze", [ones, last])
    whole = graph.append(model, "Cast", [flat], to=elem)
    model.graph.node.append(onnx.helper.make_node("Mul", [name, whole], [checked]))
    nodes = [graph.copy_of(node) for node in (*model.graph.node[first:], *readers)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if not any(opset.domain == "ai.onnx.ml" for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", _ML_OPSET))
