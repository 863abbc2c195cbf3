"""Tiny models beyond the linear one: echoes of every dtype, sums of two inputs, shapes without a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lading.signature import DTYPES, Signature, Tensor
from support.bundles import REQUIREMENTS, linear_draft, run_model

if TYPE_CHECKING:
    from lading.bundle import Bundle

ELEMENTS = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "uint8": "UINT8",
    "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "float16": "FLOAT16", "float32": "FLOAT",
    "float64": "DOUBLE", "string": "STRING",
}  # fmt: skip
"""The names of ONNX's element types."""


def model_of(nodes: list[Any], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> bytes:
    """Build an ONNX model of `nodes` between `inputs` and `outputs`."""
    from onnx import TensorProto, helper

    def info(tensor: Tensor) -> Any:
        return helper.make_tensor_value_info(
            tensor.name, getattr(TensorProto, ELEMENTS[tensor.dtype]), list(tensor.shape)
        )

    graph = helper.make_graph(nodes, "tiny", list(map(info, inputs)), list(map(info, outputs)))
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def bundle_of(path: Path, name: str, model: bytes, signature: Signature, inputs: Mapping[str, Any]) -> Bundle:
    """Write a bundle whose golden outputs ONNX Runtime gives here."""
    from lading.bundle import Samples, write_bundle

    outputs = run_model(model, dict(inputs))
    first = signature.inputs[0]
    rows = len(inputs[first.name]) if first.batched else 1
    samples = Samples(inputs=dict(inputs), outputs=outputs, rows=rows)
    draft = linear_draft(name, signature=signature, labels=False, purpose="test")
    return write_bundle(path, draft, model=model, samples=samples, requirements=REQUIREMENTS)


def values_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return values of `dtype` that reach its limits and that JSON can carry."""
    count = int(np.prod(shape))
    if dtype == "string":
        texts = ["", "plain", "한글 ✓", 'with "quotes" and \\', "line\nbreak"]
        flat = np.array([texts[at % len(texts)] for at in range(count)], object)
    elif dtype == "bool":
        flat = np.arange(count) % 3 == 0
    elif dtype.startswith("float"):
        info = np.finfo(dtype)
        flat = np.resize(np.array([0.5, -1.25, 0, info.max, info.min, info.tiny, 1 / 3], dtype), count)
    else:
        limits = np.iinfo(dtype)
        flat = np.resize(np.array([0, 1, limits.max, limits.min, 42], dtype), count)
    return flat.reshape(shape)


def echo_bundle(
    path: Path, dtype: str, name: str = "", shape: tuple[int | str, ...] = ("batch", 3)
) -> Bundle:
    """Pack a model that gives back what it gets: input ``x``, output ``y``."""
    from onnx import helper

    x, y = (Tensor(name=name, dtype=dtype, shape=shape) for name in "xy")
    model = model_of([helper.make_node("Identity", ["x"], ["y"])], (x,), (y,))
    sizes = tuple(4 if isinstance(size, str) else size for size in shape)
    inputs = {"x": values_of(dtype, sizes)}
    return bundle_of(path, name or f"echo-{dtype}", model, Signature((x,), (y,)), inputs)


def sum_bundle(path: Path, name: str = "sum") -> Bundle:
    """Pack a model of two inputs and two outputs: ``a + b`` and ``a - b``, float32 ``[batch, 2]``."""
    from onnx import helper

    a, b, total, rest = (
        Tensor(name=output, dtype="float32", shape=("batch", 2)) for output in ("a", "b", "total", "rest")
    )
    nodes = [helper.make_node("Add", ["a", "b"], ["total"]), helper.make_node("Sub", ["a", "b"], ["rest"])]
    model = model_of(nodes, (a, b), (total, rest))
    inputs = {"a": np.arange(8, dtype=np.float32).reshape(4, 2), "b": np.ones((4, 2), np.float32)}
    return bundle_of(path, name, model, Signature((a, b), (total, rest)), inputs)


def echo_bundles(folder: Path) -> list[Bundle]:
    """Pack an echo of every dtype."""
    return [echo_bundle(folder / dtype, dtype) for dtype in DTYPES]
