"""ONNX graphs as every converter needs them: run, edited at their ends, and written one way only.

Changes no arithmetic inside a graph. Knows no framework and no samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lading.errors import ConverterFailed, missing_extra
from lading.onnx_runtime import LOG_FATAL, import_onnxruntime
from lading.onnx_runtime.error_text import error_sentence, hint_of, session_errors
from lading.onnx_runtime.refusals import refusal_in, refusing_part
from lading.row_chunks import FixedChunks
from lading.signature import BATCH, Array, DType, Tensor

TABLE_ROWS = 4096
"""Rows of a table per run: a few values each, which take little memory whatever is computed of them."""

LARGE_ROWS = 8
"""Rows of images, sequences or tokens per run: activations may take thousands of times their memory."""

_TOKENS = 16  # More whole numbers than this in a row are looked up in a table of embeddings.

IR_VERSION = 8
"""The IR version of opset 18, the newest that converted models need; ONNX Runtime reads it since 1.14."""

_INNER = "/"  # begins the names of inner values, so that no name of an input or output can be one

Evaluate = Callable[[Mapping[str, Array]], dict[str, Array]]


def import_onnx() -> Any:
    """Import onnx; raises `ExtraMissing`."""
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("onnx", "pack", error) from None
    return onnx


def dtype_of(elem_type: int) -> DType | None:
    """Return the signature's dtype of an ONNX element type, or None if a signature cannot name it."""
    proto = import_onnx().TensorProto
    names: dict[int, DType] = {
        proto.BOOL: "bool",
        proto.INT8: "int8",
        proto.INT16: "int16",
        proto.INT32: "int32",
        proto.INT64: "int64",
        proto.UINT8: "uint8",
        proto.UINT16: "uint16",
        proto.UINT32: "uint32",
        proto.UINT64: "uint64",
        proto.FLOAT16: "float16",
        proto.FLOAT: "float32",
        proto.DOUBLE: "float64",
        proto.STRING: "string",
    }
    return names.get(elem_type)


def elem_type_of(dtype: str) -> int:
    """Return the ONNX element type of a signature's dtype."""
    proto = import_onnx().TensorProto
    # The other names are the same in both, but for upper case.
    types = {"float32": proto.FLOAT, "float64": proto.DOUBLE, "string": proto.STRING}
    return int(types.get(dtype) or getattr(proto, dtype.upper()))


def dtype_of_array(array: Array) -> DType:
    """Return the signature's dtype of an array that a session returned."""
    return "string" if array.dtype.kind in "OUS" else array.dtype.name  # type: ignore[return-value]


def evaluator(title: str, model: bytes, *, threads: int = 0) -> Evaluate:
    """Open a session on `model` and return the function that runs it; both raise `ConverterFailed`.

    `title` names the model in the message; 0 threads stand for one a core.
    """
    ort = import_onnxruntime("pack")
    options = ort.SessionOptions()
    options.log_severity_level = LOG_FATAL
    options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except session_errors() as error:
        expected = f"a model that ONNX Runtime {ort.__version__} loads"
        reason = error_sentence(error)
        raise ConverterFailed(f"`{title}`", expected=expected, found=reason, hint=hint_of(reason)) from error
    names = [output.name for output in session.get_outputs()]  # in the graph's order

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        try:
            values = session.run(names, dict(inputs))
        except session_errors() as error:
            expected = "a converted model that runs on the samples"
            reason = error_sentence(error)
            refusal = refusal_in(reason, f"`{title}`")
            if refusal is not None:
                raise ConverterFailed(
                    refusal.where, expected=refusal.expected, found=refusal.found, hint=refusal.hint
                ) from error
            raise ConverterFailed(f"`{title}`", expected=expected, found=reason) from error
        return dict(zip(names, values, strict=True))

    return run


def evaluate_rows(run: Evaluate, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Run rows in chunks and join the answers; in one run if an output does not have the batch first.

    The same chunks each time, so that a model packed again has the same bits.
    """
    rows = LARGE_ROWS if any(_is_large(array) for array in inputs.values()) else TABLE_ROWS
    return FixedChunks(rows).run(run, inputs)


def _is_large(array: Array) -> bool:
    """Return whether rows are more than the columns of a table."""
    tokens = array.dtype.kind in "iu" and array.ndim == 2 and array.shape[1] > _TOKENS
    return array.ndim > 2 or tokens


def copy_of(message: Any) -> Any:
    """Return a copy of a protobuf message: a model, a node, a tensor."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def append(model: Any, op: str, inputs: Sequence[str], *, domain: str = "", **attributes: Any) -> str:
    """Add a node at the end and return the name of its only output."""
    onnx = import_onnx()
    name = free_name(model, op.lower())
    model.graph.node.append(onnx.helper.make_node(op, list(inputs), [name], domain=domain, **attributes))
    return name


def constant(model: Any, values: Array) -> str:
    """Add an initializer and return its name."""
    onnx = import_onnx()
    name = free_name(model, "constant")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return name


def free_name(model: Any, wish: str) -> str:
    """Return a value name that the graph does not use yet."""
    used = _names(model.graph)
    return next(name for name in (f"{wish}_{at}" for at in range(len(used) + 1)) if name not in used)


def declare(model: Any, side: str, tensors: Iterable[Tensor]) -> None:
    """Replace the declared inputs or outputs (`side`) of the graph by `tensors`."""
    onnx = import_onnx()
    values = [
        onnx.helper.make_tensor_value_info(tensor.name, elem_type_of(tensor.dtype), list(tensor.shape))
        for tensor in tensors
    ]
    side_of_graph = getattr(model.graph, side)
    del side_of_graph[:]
    side_of_graph.extend(values)


def rename_inner(model: Any, keep: Mapping[str, str]) -> None:
    """Rename the values in `keep`, and every other one so that no later name can clash with it."""
    graph = model.graph
    # Values that are made inside a subgraph keep their names.
    names = {name: keep.get(name, f"{_INNER}{name}") for name in _outer_names(graph)}
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    for value in (*graph.initializer, *graph.node):
        if hasattr(value, "op_type"):
            rename_in_node(value, names)
        else:
            value.name = names[value.name]
    del graph.value_info[:]


def write(model: Any) -> bytes:
    """Return the bytes of the model in canonical form: the same content always gives the same bytes."""
    # skl2onnx iterates over sets: the order of its nodes and opsets follows the hash seed of the process.
    onnx = import_onnx()
    sort_from_outputs(model.graph)
    used = {node.domain for node in all_nodes(model.graph)} | {""}
    opsets = sorted({(opset.domain, opset.version) for opset in model.opset_import if opset.domain in used})
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in opsets)
    # Facts about the conversion and not about the model; the manifest has those that matter.
    for field in ("producer_name", "producer_version", "domain", "doc_string", "model_version"):
        model.ClearField(field)
    del model.metadata_props[:]
    model.ir_version = IR_VERSION
    model.graph.name = "model"
    model.graph.ClearField("doc_string")
    return bytes(model.SerializeToString(deterministic=True))


def tensors_of(values: Iterable[Any]) -> list[tuple[str, DType | None, tuple[int | str | None, ...] | None]]:
    """Read declared inputs or outputs as (name, dtype, shape).

    Dtype and shape are None if the value is no tensor; a shape is None if it is not declared.
    """
    tensors: list[tuple[str, DType | None, tuple[int | str | None, ...] | None]] = []
    for value in values:
        if value.type.WhichOneof("value") != "tensor_type":
            tensors.append((value.name, None, None))
            continue
        kind = value.type.tensor_type
        shape = tuple(_dim(dim) for dim in kind.shape.dim) if kind.HasField("shape") else None
        tensors.append((value.name, dtype_of(kind.elem_type), shape))
    return tensors


def observe_shapes(
    declared: Mapping[str, tuple[int | str | None, ...] | None],
    small: Mapping[str, Array],
    large: Mapping[str, Array],
    *,
    open_sizes: bool = False,
    rows: tuple[int, int] | None = None,
) -> dict[str, tuple[int | str, ...]]:
    """Infer the shapes of outputs from two runs of different row counts.

    The first dimension is the batch if it changed with the rows, and is as many as those if `rows` has the
    numbers of both runs. Another dimension that changed keeps the
    name it was declared with; without one it is named after the output. With `open_sizes` a size that the
    model leaves open stays open even if both runs gave the same: it may follow from other inputs.
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for name, array in large.items():
        shape = declared.get(name)
        sizes: list[int | str] = []
        for axis, size in enumerate(array.shape):
            before = small[name].shape[axis] if axis < small[name].ndim else None
            label = shape[axis] if shape is not None and axis < len(shape) else None
            own_name = label if isinstance(label, str) and label != BATCH else None
            is_batch = axis == 0 and before != size and rows in (None, (before, size))
            is_open = open_sizes and not isinstance(label, int)
            # A signature has no size of 0, and another run may have some.
            is_open = is_open or before != size or size == 0
            sizes.append(BATCH if is_batch else own_name or (f"{name}_{axis}" if is_open else size))
        shapes[name] = tuple(sizes)
    return shapes


def _dim(dim: Any) -> int | str | None:
    kind = dim.WhichOneof("value")
    if kind == "dim_value":
        return int(dim.dim_value) if dim.dim_value > 0 else None
    return str(dim.dim_param) if kind == "dim_param" and dim.dim_param else None


def sort_from_outputs(graph: Any) -> None:
    """Order nodes depth first from the outputs and initializers by name; drop what no output needs."""
    makers = {name: node for node in graph.node for name in node.output if name}
    ordered: list[Any] = []
    done: set[int] = set()
    # With a stack of its own: graphs of many steps are deeper than Python's recursion limit.
    for output in graph.output:
        stack = [(makers.get(output.name), False)]
        while stack:
            node, inputs_done = stack.pop()
            if node is None or id(node) in done:
                continue
            if inputs_done:
                done.add(id(node))
                ordered.append(node)
                continue
            stack.append((node, True))
            stack.extend((makers.get(name), False) for name in reversed(needs(node)))
    needed = {name for node in ordered for name in needs(node)} | {output.name for output in graph.output}
    # Copied, because the fields that hold them are emptied below.
    nodes = [copy_of(node) for node in ordered]
    initializers = sorted(
        (copy_of(tensor) for tensor in graph.initializer if tensor.name in needed),
        key=lambda tensor: tensor.name,
    )
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
        node.name = f"{refusing_part(node.name)}{node.op_type}_{counts[node.op_type]}"
        node.ClearField("doc_string")
    for field, values in (("node", nodes), ("initializer", initializers)):
        target = getattr(graph, field)
        del target[:]
        target.extend(values)


def needs(node: Any) -> list[str]:
    """List the values that a node reads, those that its subgraphs capture included."""
    names = [name for name in node.input if name]
    for inner in subgraphs(node):
        names.extend(_captured(inner))
    return names


def _captured(graph: Any) -> list[str]:
    own = {value.name for value in (*graph.input, *graph.initializer)}
    names: list[str] = []
    for node in graph.node:
        names.extend(name for name in needs(node) if name not in own)
        own.update(node.output)
    names.extend(output.name for output in graph.output if output.name not in own)
    return names


def subgraphs(node: Any) -> list[Any]:
    """List the graphs in the attributes of a node."""
    single = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return single + [graph for attribute in node.attribute for graph in attribute.graphs]


def all_nodes(graph: Any) -> Iterable[Any]:
    """Return the nodes of a graph or function, and those of its subgraphs."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def _outer_names(graph: Any) -> list[str]:
    values = [value.name for value in (*graph.input, *graph.initializer, *graph.output)]
    return values + [name for node in graph.node for name in (*node.input, *node.output) if name]


def _names(graph: Any) -> set[str]:
    names = set(_outer_names(graph))
    for node in graph.node:
        for inner in subgraphs(node):
            names |= _names(inner)
    return names


def rename_in_node(node: Any, names: Mapping[str, str]) -> None:
    """Rename values that the node reads or makes, and those that its subgraphs read."""
    for side in (node.input, node.output):
        for at, name in enumerate(side):
            side[at] = names.get(name, name)
    for inner in subgraphs(node):
        _rename_captured(inner, names)


def _rename_captured(graph: Any, names: Mapping[str, str]) -> None:
    """Rename the values that a subgraph reads from outside; its own keep their names."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    outside = {name: new for name, new in names.items() if name not in own}
    for node in graph.node:
        rename_in_node(node, outside)
    for output in graph.output:
        output.name = outside.get(output.name, output.name)
