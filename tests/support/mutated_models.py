"""Mutations of ONNX's node tests: one to three changes of a model or of its golden inputs, by number.

The same seed and number make the same model, in the same versions of numpy and onnx.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from support.onnx_node_cases import NodeCase, node_cases

EXTREMES = (0, -1, 1, -2, 2**31 - 1, -(2**31), 2**62, -(2**63), 7, 1000003)

Inputs = dict[str, Any]
Mutation = Callable[[Any, Inputs, random.Random], str]


def mutable_cases() -> list[NodeCase]:
    """Return the cases that have a bundle, with the same data in every process."""
    np.random.seed(0)  # noqa: NPY002 - what the suite draws from
    return [case for case in node_cases() if not case.reason]


def mutated(cases: Sequence[NodeCase], seed: int, number: int) -> tuple[NodeCase, str]:
    """Return one of the cases with its changes, and what they are."""
    chance = random.Random(f"{seed}:{number}")
    case = chance.choice(cases)
    model = onnx.load_from_string(case.model)
    inputs = {name: array.copy() for name, array in (case.inputs or {}).items()}
    wanted, changes = chance.randint(1, 3), list[str]()
    while len(changes) < wanted:
        if change := chance.choice(_MUTATIONS)(model, inputs, chance):  # Empty if the model has nothing such.
            changes.append(change)
    return dataclasses.replace(case, model=model.SerializeToString(), inputs=inputs), "; ".join(changes)


def _attribute(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    attributes = [attribute for node in model.graph.node for attribute in node.attribute]
    if not attributes:
        return ""
    attribute = chance.choice(attributes)
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = chance.choice(EXTREMES)
        return f"{attribute.name} = {attribute.i}"
    if attribute.type == onnx.AttributeProto.INTS and attribute.ints:
        at = chance.randrange(len(attribute.ints))
        attribute.ints[at] = chance.choice(EXTREMES)
        return f"{attribute.name}[{at}] = {attribute.ints[at]}"
    if attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = chance.choice((0.0, -1.0, 1e30, float("inf"), float("nan")))
        return f"{attribute.name} = {attribute.f}"
    return ""


def _new_attribute(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    """Set an attribute that many operators have, and the node test left at its default."""
    node = chance.choice(model.graph.node)
    name = chance.choice(("axis", "batch_dims", "keepdims", "hidden_size", "group", "to", "mode"))
    if any(attribute.name == name for attribute in node.attribute):
        return ""
    node.attribute.append(onnx.helper.make_attribute(name, chance.choice(EXTREMES)))
    return f"{name} = {node.attribute[-1].i}, new"


def _free_size(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    dim, where = _dim(model, chance)
    if dim is None:
        return ""
    dim.dim_param = f"free{chance.randrange(3)}"
    return f"{where} = {dim.dim_param}"


def _fixed_size(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    dim, where = _dim(model, chance)
    if dim is None:
        return ""
    dim.dim_value = chance.choice(EXTREMES)
    return f"{where} = {dim.dim_value}"


def _dim(model: Any, chance: random.Random) -> tuple[Any, str]:
    values = [
        value for value in (*model.graph.input, *model.graph.output) if value.type.tensor_type.shape.dim
    ]
    if not values:
        return None, ""
    value = chance.choice(values)
    at = chance.randrange(len(value.type.tensor_type.shape.dim))
    return value.type.tensor_type.shape.dim[at], f"size {at} of {value.name}"


def _initializer(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    whole = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT64]
    if not whole:
        return ""
    tensor = chance.choice(whole)
    array = onnx.numpy_helper.to_array(tensor).copy()
    if not array.size:
        return ""
    at = chance.randrange(array.size)
    array.reshape(-1)[at] = chance.choice(EXTREMES)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return f"{tensor.name}[{at}] = {array.reshape(-1)[at]}"


def _input(_model: Any, inputs: Inputs, chance: random.Random) -> str:
    whole = [name for name, array in inputs.items() if array.dtype.kind in "iu" and array.size]
    if not whole:
        return ""
    name = chance.choice(whole)
    array = inputs[name]
    at = chance.randrange(array.size)
    array.reshape(-1)[at] = chance.choice([value for value in EXTREMES if _fits(array.dtype, value)])
    return f"input {name}[{at}] = {array.reshape(-1)[at]}"


def _fits(dtype: Any, value: int) -> bool:
    bits = 8 * dtype.itemsize
    return -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) if dtype.kind == "i" else 0 <= value < 2**bits


def _missing_input(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    node = chance.choice(model.graph.node)
    if not node.input:
        return ""
    at = chance.randrange(len(node.input))
    node.input[at] = ""
    return f"{node.op_type} without its input {at}"


def _constant_input(model: Any, inputs: Inputs, chance: random.Random) -> str:
    """Make an input of the graph a constant, so that it is folded while the model loads."""
    if len(model.graph.input) < 2:
        return ""
    value = chance.choice(model.graph.input)
    array = inputs.get(value.name)
    if array is None or array.dtype == object:
        return ""
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    return f"{value.name} also a constant"


def _operator(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    node = chance.choice(model.graph.node)
    node.op_type = chance.choice(_operators())
    return f"operator {node.op_type}"


@functools.cache
def _operators() -> list[str]:
    return sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})


def _version(model: Any, _inputs: Inputs, chance: random.Random) -> str:
    opset = chance.choice(model.opset_import)
    opset.version = chance.choice((1, 6, 9, 11, 13, 17, 21, 22, 23, *EXTREMES))
    return f"opset {opset.domain or 'ai.onnx'} {opset.version}"


_MUTATIONS: tuple[Mutation, ...] = (
    *[_attribute] * 6,
    _new_attribute,
    *[_free_size] * 3,
    _fixed_size,
    *[_initializer] * 2,
    *[_input] * 4,
    _missing_input,
    _constant_input,
    _operator,
    _version,
)
