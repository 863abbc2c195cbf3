"""ONNX graphs written node by node, saved as a file and packed: for models that no framework exports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from lading.bundle import Bundle
from lading.pack import pack

OWNER = "ml@example.com"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name: str, elem_type: int, shape: Sequence[int | str | None]) -> Any:
    """Declare an input or output."""
    return helper.make_tensor_value_info(name, elem_type, shape)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """Make one node."""
    return helper.make_node(op, inputs, outputs, **attributes)


def pack_graph(
    folder: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    weights: Sequence[Any] = (),
    samples: Any = None,
    opset: int = 17,
    ir_version: int = 8,
    **facts: Any,
) -> Bundle:
    """Save a graph as a file in `folder` and pack it; `facts` go to `pack`."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    onnx.save(model, folder / "m.onnx")
    facts = {"name": "m", "owner": OWNER, "to": folder / "b", **facts}
    return pack(folder / "m.onnx", samples=samples, **facts)


def tensors(bundle: Bundle, side: str = "outputs") -> dict[str, str]:
    """Return dtype and shape of each output (or input) of a bundle, as text by name."""
    return {tensor.name: str(tensor) for tensor in getattr(bundle.manifest.signature, side)}
