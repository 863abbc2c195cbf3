"""The node tests of ONNX's own backend suite as bundles: published data, signature from the model.

They come with the onnx package as functions that make each case; nothing here computes an answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lading.errors import LadingError
from lading.parity import Tolerance
from lading.signature import Signature, Tensor
from support.bundles import REQUIREMENTS, linear_draft
from support.echo_models import ELEMENTS

if TYPE_CHECKING:
    from lading.bundle import Bundle


@dataclass(frozen=True)
class NodeCase:
    """One case, or why it is none for a server of tensors (`reason`)."""

    name: str
    model: bytes = b""
    signature: Signature | None = None
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    tolerance: Tolerance | None = None
    reason: str = ""

    def bundle(self, path: Path) -> Bundle:
        """Pack it, its published data as the golden samples; raises what the packer or format refuses."""
        from lading.bundle import Samples, write_bundle

        assert self.signature is not None
        assert self.inputs is not None
        assert self.outputs is not None
        assert self.tolerance is not None
        draft = linear_draft(
            bundle_name(self.name),
            signature=self.signature,
            labels=False,
            purpose="test",
            tolerance=self.tolerance,
            expected_from="onnx",
        )
        samples = Samples(inputs=self.inputs, outputs=self.outputs, rows=1)
        return write_bundle(path, draft, model=self.model, samples=samples, requirements=REQUIREMENTS)


def bundle_name(name: str) -> str:
    """Return the case's name as a model's name, which is shorter."""
    short = name.removeprefix("test_").lower().replace("_", "-")
    return short if len(short) <= 63 else f"{short[:54]}-{sum(map(ord, short)):x}"


def node_cases() -> Iterator[NodeCase]:
    """Return every case of the suite."""
    import onnx.backend.test.case.node as suite

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some cases overflow on purpose while they are made.
        cases = suite.collect_testcases(None)
    for case in cases:
        yield _case(case)


def _case(case: Any) -> NodeCase:
    graph = case.model.graph
    reason = _reason(graph)
    if reason:
        return NodeCase(case.name, reason=reason)
    _free_empty_sizes(graph)
    (sets,) = case.data_sets
    inputs, outputs = ([_array(value) for value in side] for side in sets)
    signature = Signature(
        tuple(_tensor(value, array) for value, array in zip(graph.input, inputs, strict=True)),
        tuple(_tensor(value, array) for value, array in zip(graph.output, outputs, strict=True)),
    )
    return NodeCase(
        case.name,
        case.model.SerializeToString(),
        signature,
        {tensor.name: _plain(tensor, array) for tensor, array in zip(signature.inputs, inputs, strict=True)},
        {
            tensor.name: _plain(tensor, array)
            for tensor, array in zip(signature.outputs, outputs, strict=True)
        },
        Tolerance(rtol=case.rtol, atol=case.atol),
    )


def _reason(graph: Any) -> str:
    from onnx import TensorProto

    if not graph.input:
        return "has no input"
    for value in (*graph.input, *graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return f"has a {kind.removesuffix('_type')} and not only tensors"
        element = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        if element not in ELEMENTS.values():
            return f"has a tensor of {element}"
    return ""


def _free_empty_sizes(graph: Any) -> None:
    """Declare sizes of 0 and unknown ones as dynamic, because a signature has neither."""
    for value in (*graph.input, *graph.output):
        for at, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.dim_value:
                dim.dim_param = f"{value.name}_{at}"


def _tensor(value: Any, array: Any) -> Tensor:
    from onnx import TensorProto

    element = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    dtype = next(name for name, known in ELEMENTS.items() if known == element)
    sizes = [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
    nan = bool(array.dtype.kind == "f" and np.isnan(array).any())
    return Tensor(name=value.name, dtype=dtype, shape=tuple(sizes), allows_nan=nan)


def _array(value: Any) -> Any:
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def _plain(tensor: Tensor, array: Any) -> Any:
    if tensor.dtype == "string":
        texts = [
            item.decode() if isinstance(item, bytes) else str(item) for item in array.reshape(-1).tolist()
        ]
        plain = np.empty(len(texts), object)
        plain[:] = texts
        return plain.reshape(array.shape)
    return array.astype(tensor.numpy_dtype, copy=False)


def pack_all(cases: list[NodeCase], folder: Path) -> tuple[dict[str, NodeCase], dict[str, str]]:
    """Pack what packs: cases by the name of their bundle, and the reasons of the others by their own."""
    packed: dict[str, NodeCase] = {}
    refused: dict[str, str] = {}
    for case in cases:
        if case.reason:
            refused[case.name] = case.reason
            continue
        try:
            packed[case.bundle(folder / bundle_name(case.name)).manifest.name] = case
        except LadingError as error:
            refused[case.name] = error.message
    return packed, refused
