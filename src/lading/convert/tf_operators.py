"""Operations of TensorFlow that tf2onnx leaves or converts for usual values only, as nodes of ONNX.

What TensorFlow says of negative indices and of divisions below zero is true of a bundle, too. One function an
operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lading.convert import graph


def replace_operators(model: Any) -> None:
    """Replace the operations known here, those of inner graphs too, in place."""
    signs = _only_compared_with_zero(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    _refuse_negative_indices(model.graph, constants)
    _replace_in(model.graph)
    _replace_in(model.graph, {"Bitcast": lambda node: _sign_bit(node) if node.output[0] in signs else [node]})


def _refuse_negative_indices(owner: Any, outer: set[str]) -> None:
    """Move negative indices beyond the end, where ONNX fails or answers nothing, as TensorFlow does.

    ONNX counts them from the end.
    """
    constants = {*outer, *(tensor.name for tensor in owner.initializer)}
    nodes: list[Any] = []
    for node in owner.node:
        if node.op_type == "Constant":
            constants.add(node.output[0])
        for inner in graph.subgraphs(node):
            _refuse_negative_indices(inner, constants)
        kept = graph.copy_of(node)
        at = _INDICES.get(node.op_type)
        if at is not None and node.input[at] not in constants:
            made = _Nodes(node)
            index = made.add("Cast", [node.input[at]], to=graph.elem_type_of("int64"))
            below = made.add("Less", [index, made.constant(np.int64(0))])
            kept.input[at] = made.add("Where", [below, made.constant(np.int64(2**31 - 1)), index])
            nodes.extend(made.nodes)
        nodes.append(kept)
    del owner.node[:]
    owner.node.extend(nodes)


def _only_compared_with_zero(model: Any) -> set[str]:
    """Return the values of which nothing but ``x < 0`` is asked: Keras asks for the sign of a zero so."""
    to_array = graph.import_onnx().numpy_helper.to_array
    constants = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    readers: dict[str, list[Any]] = {output.name: [None] for output in model.graph.output}
    for node in graph.all_nodes(model.graph):
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def only_sign(value: str) -> bool:
        return all(node is not None and reads_sign(node, value) for node in readers.get(value, ()))

    def reads_sign(node: Any, value: str) -> bool:
        other = constants.get(node.input[1]) if len(node.input) == 2 and node.input[0] == value else None
        if node.op_type == "Less":
            return other is not None and not other.any()
        if node.op_type == "BitwiseAnd" and (other is None or (other != np.iinfo(other.dtype).min).any()):
            return False
        return node.op_type in ("BitwiseAnd", "Cast") and only_sign(node.output[0])

    casts = [node.output[0] for node in graph.all_nodes(model.graph) if node.op_type == "Bitcast"]
    return {value for value in casts if only_sign(value)}


def _replace_in(owner: Any, replaced: Mapping[str, Callable[[Any], list[Any]]] | None = None) -> None:
    nodes: list[Any] = []
    for node in owner.node:
        for inner in graph.subgraphs(node):
            _replace_in(inner, replaced)
        replace = (replaced or _REPLACED).get(node.op_type) if not node.domain else None
        nodes.extend([graph.copy_of(node)] if replace is None else replace(node))
    del owner.node[:]
    owner.node.extend(nodes)


def _erfc(node: Any) -> list[Any]:
    """Return 1 - erf(x): exact but for relative errors where it is nearly 0, which the proof judges."""
    made = _Nodes(node)
    erf = made.add("Erf", [node.input[0]])
    # 1 of the dtype of x, which the node does not say.
    unit = made.add("Exp", [made.add("Sub", [erf, erf])])
    made.finish("Sub", [unit, erf])
    return made.nodes


def _bucketize(node: Any) -> list[Any]:
    """Return how many boundaries are not above x; that is all of them for NaN."""
    made = _Nodes(node)
    (attribute,) = node.attribute
    boundaries = made.constant(np.array(attribute.floats, dtype=np.float32))
    # TensorFlow compares whole numbers as float32, and float64 in its own.
    wide = made.add("Cast", [node.input[0]], to=graph.elem_type_of("float64"))
    limits = made.add("Cast", [boundaries], to=graph.elem_type_of("float64"))
    apart = made.add("Unsqueeze", [wide, made.constant(np.array([-1], dtype=np.int64))])
    reached = made.add("Not", [made.add("Less", [apart, limits])])
    ones = made.add("Cast", [reached], to=graph.elem_type_of("int32"))
    axis = made.constant(np.array([-1], dtype=np.int64))
    made.finish("ReduceSum", [ones, axis], keepdims=0)
    return made.nodes


def _whole_floor_division(node: Any) -> list[Any]:
    """Return x // y of whole numbers, rounded down as in Python; ONNX rounds towards zero."""
    made, (x, y) = _Nodes(node), node.input
    made.finish("Div", [made.add("Sub", [x, made.add("Mod", [x, y], fmod=0)]), y])
    return made.nodes


def _whole_modulo(node: Any) -> list[Any]:
    made = _Nodes(node)
    made.finish("Mod", list(node.input), fmod=0)
    return made.nodes


def _modulo(node: Any) -> list[Any]:
    """Return x % y of floats with the sign of y; x - floor(x / y) * y has no digit left of a large x."""
    made, (x, y) = _Nodes(node), node.input
    rest = made.add("Mod", [x, y], fmod=1)
    zero = made.add("Sub", [rest, rest])
    other_sign = made.add("Xor", [made.add("Less", [rest, zero]), made.add("Less", [y, zero])])
    moved = made.add("And", [other_sign, made.add("Not", [made.add("Equal", [rest, zero])])])
    made.finish("Where", [moved, made.add("Add", [rest, y]), rest])
    return made.nodes


def _sign_bit(node: Any) -> list[Any]:
    """Return -1 where the bits of a float begin with 1, also for -0.0, whose reciprocal is -inf; else 0."""
    made = _Nodes(node)
    value = node.input[0]
    zero = made.add("Sub", [value, value])
    below = made.add("Less", [value, zero])
    infinite = made.add("Less", [made.add("Reciprocal", [value]), zero])
    negative = made.add("Or", [below, infinite])
    made.finish("Neg", [made.add("Cast", [negative], to=graph.elem_type_of("int32"))])
    return made.nodes


class _Nodes:
    """The nodes in the place of another, whose values have names that begin with its output's."""

    def __init__(self, replaced: Any) -> None:
        self.nodes: list[Any] = []
        self._replaced = replaced

    def add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node and return its output."""
        name = f"{self._replaced.output[0]}/{len(self.nodes)}"
        self.nodes.append(graph.import_onnx().helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        """Add a constant and return its name."""
        return self.add("Constant", [], value=graph.import_onnx().numpy_helper.from_array(values))

    def finish(self, op: str, inputs: list[str], **attributes: Any) -> None:
        """Add the node that makes the output."""
        outputs = [self._replaced.output[0]]
        self.nodes.append(graph.import_onnx().helper.make_node(op, inputs, outputs, **attributes))


WHOLE = "OfIntegers"
"""Ends the name of an operation that TensorFlow has for floats and for whole numbers."""

_REPLACED: dict[str, Callable[[Any], list[Any]]] = {
    "Erfc": _erfc,
    "Bucketize": _bucketize,
    f"FloorDiv{WHOLE}": _whole_floor_division,
    f"FloorMod{WHOLE}": _whole_modulo,
    "FloorMod": _modulo,
}
# Where the indices are among the inputs.
_INDICES = {"Gather": 1, "GatherElements": 1, "GatherND": 1, "OneHot": 0, "ScatterND": 1}
