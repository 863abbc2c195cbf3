"""ONNX files read from the disk, with their external data, and what their ends are, in words.

Changes nothing but to give an output the type that it has by inference. Runs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lading.convert import graph
from lading.errors import ConverterFailed, mid_sentence, one_line

_MAX_INLINE_BYTES = 1_500_000_000  # protobuf's own limit is 2 GiB
_HINT = "a model is an .onnx file or `module:object`"
_EXTERNAL_HINT = (
    "the files with the weights (external data) belong in the folder of the model, as they were saved"
)
# The first bytes of what is often found in place of a model: what it is, and what to do.
_OTHERS = (
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: `git lfs pull`"),
    (b"<", "a page of HTML or XML", "fetch the file itself"),
    (b"PK\x03\x04", "a zip archive", "unpack it, and name the .onnx file in it"),
    (b"\x89HDF", "a file of HDF5", "load it in a module of yours, and pack the model as module:object"),
    (b"\x80", "a pickle", "load it, and pass the object"),
)


def read_model(path: Path) -> Any:
    """Read the file at `path` with its external data; raises `ConverterFailed`."""
    onnx = graph.import_onnx()
    if not path.is_file():
        raise _unreadable(path, "no such file")
    try:
        # Without `format` onnx chooses one by the file's ending: `.json` would be read as JSON.
        model = onnx.load(path, format="protobuf", load_external_data=True)
    except Exception as error:  # onnx and protobuf share no base for their errors
        reason = mid_sentence(one_line(error)).rstrip(".")
        hint = _EXTERNAL_HINT if "external" in reason or "TensorProto" in reason else _HINT
        raise _unreadable(path, reason, hint) from error
    if not model.graph.output:
        raise _unreadable(path, "no graph with outputs in it")
    if not model.opset_import and not model.functions:
        raise _unreadable(path, "a graph without the version of its operators (`opset_import`)")
    if model.ByteSize() > _MAX_INLINE_BYTES:
        raise ConverterFailed(
            f"`{path}`",
            expected=f"at most {_MAX_INLINE_BYTES} bytes",
            found=f"{model.ByteSize()} bytes with its external data",
        )
    _complete_outputs(model)
    return model


def check_ends(model: Any, title: str) -> None:
    """Check that a signature can name what goes in and out; raises `ConverterFailed`."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if not inputs:
        raise ConverterFailed(
            f"`{title}`",
            expected="an input",
            found="none that a caller gives",
            hint="an input that has a default in the file becomes one without its initializer",
        )
    verbs = {"input": "take", "output": "give"}
    for side, values in (("input", inputs), ("output", model.graph.output)):
        for value in values:
            kind = value.type.tensor_type
            known = value.type.WhichOneof("value") == "tensor_type" and graph.dtype_of(kind.elem_type)
            if not known:
                raise ConverterFailed(
                    f"{side} `{value.name}` of `{title}`",
                    expected="a tensor of a dtype that a signature can name",
                    found=describe(value.type),
                    hint=f"let the model {verbs[side]} such a tensor, and convert inside it",
                )
            if side == "input":
                _check_shape(value, title)


def describe(kind: Any) -> str:
    """Return what a value of this type is: ``int4``, ``a sequence of float32``, ``a map``."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return _dtype(kind.tensor_type.elem_type)
    if which == "sparse_tensor_type":
        return f"a sparse tensor of {_dtype(kind.sparse_tensor_type.elem_type)}"
    if which in ("sequence_type", "optional_type"):
        inner = describe(getattr(kind, which).elem_type)
        return f"{'a sequence' if which == 'sequence_type' else 'an optional'} of {inner}"
    return "no type" if which is None else f"a {which.removesuffix('_type')}"


def _check_shape(value: Any, title: str) -> None:
    kind = value.type.tensor_type
    where = f"input `{value.name}` of `{title}`"
    if not kind.HasField("shape"):
        raise ConverterFailed(
            where,
            expected="a shape, with a name for each size that is open",
            found="none, not even a number of dimensions",
            hint="declare it: `onnx.tools.update_model_dims`, or the example inputs of the export",
        )
    for axis, dim in enumerate(kind.shape.dim):
        # Unlike a size that is left out, ONNX Runtime takes it literally.
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value == 0:
            raise ConverterFailed(
                where,
                expected="sizes of 1 or more",
                found=f"0 on axis {axis}, which takes no value at all",
                hint="give an open size a name; make an input that is always empty a constant",
            )


def _complete_outputs(model: Any) -> None:
    """Infer type and shape of outputs that are declared without."""
    incomplete = [output for output in model.graph.output if _is_incomplete(output.type)]
    if not incomplete:
        return
    inferred = graph.import_onnx().shape_inference.infer_shapes(model).graph.output
    kinds = {output.name: output.type for output in inferred}
    for output in incomplete:
        output.type.CopyFrom(kinds[output.name])


def _is_incomplete(kind: Any) -> bool:
    which = kind.WhichOneof("value")
    return which is None or (which == "tensor_type" and not kind.tensor_type.HasField("shape"))


def _dtype(elem_type: int) -> str:
    proto = graph.import_onnx().TensorProto
    known = graph.dtype_of(elem_type)
    if known or elem_type not in proto.DataType.values():
        return known or f"dtype {elem_type}"
    return str(proto.DataType.Name(elem_type)).lower()


def _unreadable(path: Path, reason: str, hint: str = _HINT) -> ConverterFailed:
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(32)
        for first, what, instead in _OTHERS:
            if start.startswith(first):
                reason, hint = what, instead
        if start[4:8] == b"ORTM":
            reason, hint = "a model in ONNX Runtime's own format", "pack the .onnx file that it was made from"
    return ConverterFailed(f"`{path}`", expected="an ONNX file", found=reason, hint=hint)
