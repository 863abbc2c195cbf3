"""ONNX files brought to what a bundle can hold: nodes in order, no bfloat16 at the ends, names of outputs.

Changes no value: a bfloat16 is exactly a float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lading.convert import graph


def sort_nodes(owner: Any) -> bool:
    """Bring the nodes of a graph behind those whose values they read; return whether that moved one.

    The order of a file is kept as far as it can be. ONNX asks for it and its checker holds files to it;
    ONNX Runtime sorts for itself, so that files of converters to float16 run in any order.
    """
    nodes = list(owner.node)
    makers = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    ordered: list[int] = []
    state = [0] * len(nodes)  # 1: its needs are on the stack, 2: it is in its place
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            at = stack[-1]
            if state[at]:
                stack.pop()
                if state[at] == 1:
                    state[at] = 2
                    ordered.append(at)
                continue
            state[at] = 1
            needs = (makers[name] for name in reversed(graph.needs(nodes[at])) if name in makers)
            stack.extend(need for need in needs if not state[need])
    moved = ordered != sorted(ordered)
    if moved:
        copies = [graph.copy_of(nodes[at]) for at in ordered]
        del owner.node[:]
        owner.node.extend(copies)
    for inner in [inner for node in owner.node for inner in graph.subgraphs(node)]:
        moved = sort_nodes(inner) or moved
    return moved


def widen_bfloat16(model: Any) -> list[str]:
    """Make inputs and outputs of bfloat16 float32, by a Cast each; return their names."""
    onnx = graph.import_onnx()
    narrow, wide = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    names = []
    for value, is_input in _ends(model):
        kind = value.type.tensor_type
        if kind.elem_type != narrow:
            continue
        if not is_input and value.name in names:
            kind.elem_type = wide  # the input itself
            continue
        inner = graph.free_name(model, f"{value.name}_bfloat16")
        for node in model.graph.node:
            graph.rename_in_node(node, {value.name: inner})
        if is_input:
            cast = onnx.helper.make_node("Cast", [value.name], [inner], to=narrow)
            model.graph.node.insert(0, cast)
        else:
            model.graph.node.append(onnx.helper.make_node("Cast", [inner], [value.name], to=wide))
        kind.elem_type = wide
        names.append(value.name)
    return names


def rename_outputs(model: Any, names: Mapping[str, str]) -> None:
    """Rename the outputs of a graph, each to what `names` has for it."""
    onnx = graph.import_onnx()
    for output in model.graph.output:
        new = names[output.name]
        if new != output.name:
            if new in {name for node in model.graph.node for name in node.output}:
                _rename_value(model, new, graph.free_name(model, new))
            model.graph.node.append(onnx.helper.make_node("Identity", [output.name], [new]))
            output.name = new


def _rename_value(model: Any, old: str, new: str) -> None:
    for node in model.graph.node:
        graph.rename_in_node(node, {old: new})


def _ends(model: Any) -> Iterator[tuple[Any, bool]]:
    weights = {tensor.name for tensor in model.graph.initializer}
    yield from ((value, True) for value in model.graph.input if value.name not in weights)
    yield from ((value, False) for value in model.graph.output)
