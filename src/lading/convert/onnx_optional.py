"""Optional inputs of an ONNX file: given in every request, or in none.

A signature has no inputs that may be missing, so packing settles which: they are given, unless the samples
come without them.
"""

from __future__ import annotations

from typing import Any

from lading.convert import graph


def take_optional_inputs(model: Any) -> tuple[str, ...]:
    """Make each input that is an optional tensor a tensor that is always given; return their names."""
    onnx = graph.import_onnx()
    names = []
    for value in model.graph.input:
        if value.type.WhichOneof("value") != "optional_type":
            continue
        inner_type = graph.copy_of(value.type.optional_type.elem_type)
        if inner_type.WhichOneof("value") != "tensor_type":
            continue
        inner = graph.free_name(model, f"{value.name}_optional")
        for node in model.graph.node:
            graph.rename_in_node(node, {value.name: inner})
        model.graph.node.insert(0, onnx.helper.make_node("Optional", [value.name], [inner]))
        value.type.CopyFrom(inner_type)
        names.append(value.name)
    return tuple(names)


def leave_out(model: Any, name: str) -> None:
    """Never give the input `name` of `take_optional_inputs`."""
    onnx = graph.import_onnx()
    value = next(value for value in model.graph.input if value.name == name)
    node = next(
        node for node in model.graph.node if node.op_type == "Optional" and list(node.input) == [name]
    )
    absent = onnx.helper.make_node("Optional", [], list(node.output), type=value.type)
    node.CopyFrom(absent)
    model.graph.input.remove(value)


def note(taken: tuple[str, ...], left_out: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the packer should know of optional inputs."""
    notes = []
    if taken:
        names = ", ".join(f"`{name}`" for name in taken)
        notes.append(
            f"{names}: optional in the file, given in every request; give samples without it for a model that"
            " never gets it"
        )
    if left_out:
        names = ", ".join(f"`{name}`" for name in left_out)
        notes.append(f"{names}: optional in the file and not in the samples, so it is in no request")
    return tuple(notes)
