"""Functions of TensorFlow as ONNX graphs, through tf2onnx. Knows no Keras and no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tf2onnx
from tf2onnx.onnx_opset.controlflow import Select
from tf2onnx.onnx_opset.math import FloorDiv

from lading.convert import exported, graph
from lading.convert.quiet import quiet
from lading.convert.tensor_model import Route
from lading.convert.tf_operators import WHOLE, replace_operators
from lading.errors import ConverterFailed
from lading.signature import Array, DType, Tensor

OPSETS = (18, 15)
"""The newest that every ONNX Runtime of lading's reads, then the one that tf2onnx chooses by itself."""

PACKAGES = ("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime", "numpy")

HINT = (
    "do without it, or do it before, in training and in requests; or export the model to ONNX with another"
    " tool, and pack that file"
)
TEXT_HINT = (
    "look the values up before, in training and in requests, and let the model take the numbers that they"
    " become: in Keras, the layers behind the lookup are a model of their own"
)


def hint(operation: str = "") -> str:
    """Return the way out of an operation that ONNX does not have."""
    return TEXT_HINT if "Lookup" in operation else HINT


def routes(function: Callable[..., Any]) -> list[Route]:
    """Return the routes of a function that takes tensors in order and returns a list of them."""
    title = f"tf2onnx {tf2onnx.__version__}"
    return [Route(f"{title} (opset {opset})", partial(export_function, function, opset)) for opset in OPSETS]


def export_function(function: Callable[..., Any], opset: int, inputs: Sequence[Tensor]) -> Any:
    """Return the graph of a function; its inputs are called `exported.input_name`."""
    spec = specs(inputs)

    def traced(*tensors: Any) -> Any:
        return function(*tensors)

    with quiet():
        wrapped = tf.function(traced, input_signature=spec)
        model, _ = tf2onnx.convert.from_function(
            wrapped, input_signature=spec, opset=opset, custom_op_handlers=dict(_HANDLERS)
        )
        _fill_captured(model, wrapped.get_concrete_function(*spec), len(spec))
    replace_operators(model)
    return model


def _fill_captured(model: Any, concrete: Any, own: int) -> None:
    """Make initializers of the constants that a function captured: tf2onnx makes inputs of them."""
    values = {
        placeholder.name: value
        for value, placeholder in zip(concrete.captured_inputs, concrete.inputs[own:], strict=True)
        if value.dtype != tf.resource
    }
    onnx = graph.import_onnx()
    kept = []
    for tensor in model.graph.input:
        if tensor.name in values:
            array = values[tensor.name].numpy()
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), tensor.name))
        else:
            kept.append(graph.copy_of(tensor))
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _where(context: Any, node: Any, name: str, arguments: Any) -> None:  # noqa: ARG001 - tf2onnx's form
    """Choose by `Where`: tf2onnx multiplies by 0 and 1, of which NaN and infinities make NaN."""
    node.set_attr("handles_nan", True)
    Select.version_9(context, node)


def _floor(context: Any, node: Any, name: str, arguments: Any) -> None:  # noqa: ARG001 - tf2onnx's form
    """Leave what `tf_operators` replaces: tf2onnx rounds whole numbers towards zero."""
    is_float = tf.dtypes.as_dtype(_numpy_dtype(context.get_dtype(node.input[0]))).is_floating
    if not is_float:
        node.type = f"{node.type}{WHOLE}"
    elif node.type == "FloorDiv":
        FloorDiv.version_6(context, node)


def _numpy_dtype(elem_type: int) -> Any:
    return graph.import_onnx().helper.tensor_dtype_to_np_dtype(elem_type)


_HANDLERS: dict[str, tuple[Callable[..., None], list[str]]] = {
    "Select": (_where, []),
    "SelectV2": (_where, []),
    "FloorDiv": (_floor, []),
    "FloorMod": (_floor, []),
}


def specs(inputs: Sequence[Tensor]) -> list[Any]:
    """Return what TensorFlow traces a function with."""
    return [
        tf.TensorSpec(
            [size if isinstance(size, int) else None for size in tensor.shape],
            tf.dtypes.as_dtype("string" if tensor.dtype == "string" else tensor.dtype),
            name=exported.input_name(at),
        )
        for at, tensor in enumerate(inputs)
    ]


def dtype_of(kind: Any, where: str) -> DType:
    """Return the signature's dtype of TensorFlow's; raises `ConverterFailed` where there is none."""
    name = tf.dtypes.as_dtype(kind).name
    try:
        return np.dtype("object" if name == "string" else name).name.replace("object", "string")  # type: ignore[return-value]
    except TypeError:
        raise ConverterFailed(
            where,
            expected="a dtype that a signature can name",
            found=f"`{name}`",
            hint="cast it in the model",
        ) from None


def as_arrays(answers: Mapping[str, Any], title: str) -> dict[str, Array]:
    """Return tensors as arrays, texts as object arrays of ``str``; raises `ConverterFailed`."""
    arrays = {}
    for name, value in answers.items():
        if not hasattr(value, "numpy") or isinstance(value, tf.RaggedTensor | tf.SparseTensor):
            raise ConverterFailed(
                f"output `{name}` of `{title}`",
                expected="a dense tensor",
                found=f"`{type(value).__name__}`",
                hint="let the model return tensors, by name where there are several",
            )
        array = np.asarray(value.numpy())
        if array.dtype.kind in "OS":
            texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.ravel()]
            array = np.array(texts, dtype=object).reshape(array.shape)
        elif array.dtype.kind == "V" or array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        arrays[name] = array
    return arrays
