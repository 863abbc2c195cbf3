"""Outputs that are maps or sequences, rewritten to plain tensors. Leaves tensor outputs alone."""

from __future__ import annotations

from typing import Any

from lading.convert import graph
from lading.convert.onnx_reading import describe
from lading.errors import ConverterFailed


def rewrite_outputs(model: Any, title: str) -> dict[str, tuple[str, ...]]:
    """Make every output of the model a tensor; return the class values of each that was a ``ZipMap``.

    A ``ZipMap`` (one ``{class: probability}`` per row) becomes the ``[batch, classes]`` tensor in front of
    it; a ``SequenceConstruct`` of such tensors becomes ``[batch, targets, classes]``. The graph's
    outputs keep their names and order. Raises `ConverterFailed` naming the model `title`.
    """
    # The node that makes a value, by the value's name.
    makers = {name: node for node in model.graph.node for name in node.output}
    columns = {}
    for output in model.graph.output:
        kind = output.type.WhichOneof("value")
        if kind in ("tensor_type", None):
            continue
        maker = makers.get(output.name)
        if maker is not None and maker.op_type == "ZipMap":
            columns[output.name] = _class_values(maker)
            _replace(model, output, maker, maker.input[0], graph.elem_type_of("float32"))
        elif maker is not None and maker.op_type == "SequenceConstruct":
            elem_type = output.type.sequence_type.elem_type.tensor_type.elem_type
            # [batch, classes] of each target -> [batch, targets, classes]
            joined = graph.append(model, "ConcatFromSequence", maker.output[:1], axis=1, new_axis=1)
            _replace(model, output, None, joined, elem_type)
        else:
            made_by = f" made by `{maker.op_type}`" if maker is not None else ""
            raise ConverterFailed(
                f"output `{output.name}` of `{title}`",
                expected="a tensor",
                found=f"{describe(output.type)}{made_by}",
                hint="let the model give tensors; a ZipMap is rewritten by lading",
            )
    return columns


def _replace(model: Any, output: Any, maker: Any, source: str, elem_type: int) -> None:
    """Make `output` the tensor `source`, under its own name."""
    if maker is not None:
        model.graph.node.remove(maker)
    else:
        # The sequence itself keeps its maker and gets another name.
        hidden = graph.free_name(model, "sequence")
        for node in model.graph.node:
            for side in (node.input, node.output):
                for at, name in enumerate(side):
                    if name == output.name:
                        side[at] = hidden
    onnx = graph.import_onnx()
    model.graph.node.append(onnx.helper.make_node("Identity", [source], [output.name]))
    output.type.Clear()
    output.type.tensor_type.elem_type = elem_type


def _class_values(zip_map: Any) -> tuple[str, ...]:
    for attribute in zip_map.attribute:
        if attribute.name == "classlabels_int64s":
            return tuple(str(value) for value in attribute.ints)
        if attribute.name == "classlabels_strings":
            return tuple(value.decode() for value in attribute.strings)
    return ()
