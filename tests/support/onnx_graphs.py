"""Models of a few nodes for tests, and bundles of them, in dtypes and shapes that `linear_model` lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lading.bundle import Bundle, Samples, write_bundle
from lading.signature import Signature, Tensor
from support.bundles import REQUIREMENTS, linear_draft, run_model


def graph(
    nodes: Sequence[Any],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    constants: Mapping[str, np.ndarray[Any, Any]] | None = None,
    opset: int = 17,
    ir: int = 8,
    domains: Mapping[str, int] | None = None,
) -> bytes:
    """Build a model of `nodes` (``onnx.helper.make_node``) between named tensors."""
    from onnx import helper, numpy_helper

    arrays = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    made = helper.make_graph(
        list(nodes), "g", [*map(_value_info, inputs)], [*map(_value_info, outputs)], arrays
    )
    opsets = [
        helper.make_opsetid(domain, version) for domain, version in {"": opset, **(domains or {})}.items()
    ]
    model = helper.make_model(made, opset_imports=opsets, ir_version=ir)
    return bytes(model.SerializeToString(deterministic=True))


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """Make one node; names are separated by spaces."""
    from onnx import helper

    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def tensor(name: str, dtype: str = "float32", *shape: int | str) -> Tensor:
    """Name an input or output; without a shape it is ``[batch]``."""
    return Tensor(name=name, dtype=dtype, shape=shape or ("batch",))  # type: ignore[arg-type]


def identity(dtype: str = "float32", *shape: int | str, **changes: Any) -> bytes:
    """Build the model whose output `Y` is its input `X`."""
    return graph(
        [node("Identity", "X", "Y")], [tensor("X", dtype, *shape)], [tensor("Y", dtype, *shape)], **changes
    )


def bundle_of(
    path: Path,
    model: bytes,
    signature: Signature,
    inputs: dict[str, Any],
    *,
    outputs: dict[str, Any] | None = None,
    **changes: Any,
) -> Bundle:
    """Write a bundle of `model`; golden `outputs` are those of ONNX Runtime here unless passed."""
    answers = outputs if outputs is not None else run_model(model, inputs)
    arrays = [array for array in inputs.values() if array.ndim]
    has_rows = all(tensor.batched for tensor in signature.inputs)
    samples = Samples(inputs, answers, len(arrays[0]) if has_rows else 1)
    draft = linear_draft(signature=signature, labels={}, **changes)
    return write_bundle(path, draft, model=model, samples=samples, requirements=REQUIREMENTS)


def _value_info(tensor: Tensor) -> Any:
    from onnx import TensorProto, helper

    kinds = {"string": TensorProto.STRING, "bool": TensorProto.BOOL}
    kind = kinds.get(tensor.dtype) or helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, kind, list(tensor.shape))
