"""ONNX graphs that a framework's own exporter made: checked, with names of their own, as a `Conversion`.

Exporters number their values as they go, some over the whole life of a process: here every value has a name
that follows from the graph alone. Changes no arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lading.convert import Conversion, graph, onnx_inputs
from lading.convert.row_dependence import rounding, row_dependence
from lading.errors import ConverterFailed
from lading.signature import Array, Signature, Tensor

_MOST_BYTES = 1_500_000_000  # protobuf's own limit is 2 GiB


def input_name(at: int) -> str:
    """Return the name that an exporter is to give to the input at this position."""
    return f"input_{at}"


def refuse_operators(
    model: Any, title: str, place_of: Callable[[str], str], hint: Callable[[str], str]
) -> None:
    """Refuse operators that ONNX does not have, and graphs beyond protobuf's limit; raises `ConverterFailed`.

    `place_of` returns the layer that a node is of, `hint` the way out of an operator.
    """
    schemas = graph.import_onnx().defs
    for node in graph.all_nodes(model.graph):
        if not schemas.has(node.op_type, node.domain):
            place = place_of(node.name)
            raise ConverterFailed(
                f"{place} of `{title}`" if place else f"`{title}`",
                expected="operations that ONNX has",
                found=f"`{node.op_type}`",
                hint=hint(node.op_type),
            )
    if model.ByteSize() > _MOST_BYTES:
        raise ConverterFailed(
            f"`{title}`", expected=f"at most {_MOST_BYTES} bytes", found=f"{model.ByteSize()} bytes"
        )


def name_values(model: Any, inputs: Sequence[Tensor], outputs: Sequence[str]) -> None:
    """Name the ends of a graph as a bundle does, and all other values by their place; in place.

    Raises `ConverterFailed` if the graph has another number of outputs.
    """
    own = [output.name for output in model.graph.output]
    if len(own) != len(outputs):
        raise ConverterFailed(
            "the exported graph", expected=f"{len(outputs)} outputs", found=f"{len(own)} outputs"
        )
    ends = {input_name(at): tensor.name for at, tensor in enumerate(inputs)}
    unknown = [value.name for value in model.graph.input if value.name not in ends]
    if unknown:
        raise ConverterFailed(
            "the exported graph", expected=f"{len(inputs)} inputs", found=f"`{unknown[0]}` beside them"
        )
    graph.declare(model, "input", ())
    # An output may be an input, or one value twice: a node each gives it a name of its own.
    for at, name in enumerate(own):
        last = graph.import_onnx().helper.make_node("Identity", [name], [f" output {at}"])
        model.graph.node.append(last)
        model.graph.output[at].name = f" output {at}"
        ends[f" output {at}"] = outputs[at]
    _sort(model.graph)
    names = dict(ends)
    for name in _values(model.graph):
        # A name of an end may be one inside, too: no end begins with a slash.
        names.setdefault(name, f"/{len(names)}" if name else "")
    _rename(model.graph, names)
    _sort(model.graph)
    graph.declare(model, "input", inputs)


def conversion(
    model: Any,
    title: str,
    inputs: tuple[Tensor, ...],
    arrays: Mapping[str, Array],
    *,
    in_rows: bool,
) -> Conversion:
    """Return a named graph as a conversion whose outputs are declared as runs of `arrays` show them.

    With `in_rows` the framework answers each row alone. If the graph does not, the first note says how.
    """
    run = graph.evaluator(title, model.SerializeToString())
    large = graph.evaluate_rows(run, arrays) if in_rows else run(arrays)
    small, counts = large, None
    if all(tensor.batched for tensor in inputs):
        rows = len(next(iter(arrays.values())))
        few = np.arange(rows - 1) if 1 < rows <= 8 else np.arange(2) % rows
        small, counts = run({name: array[few] for name, array in arrays.items()}), (len(few), rows)
    # Names of sizes are numbers that the exporter counted.
    declared = {
        name: shape and tuple(size if isinstance(size, int) else None for size in shape)
        for name, _, shape in graph.tensors_of(model.graph.output)
    }
    is_open = bool(onnx_inputs.open_sizes(inputs)) or counts is None
    shapes = graph.observe_shapes(declared, small, large, open_sizes=is_open, rows=counts)
    outputs = tuple(
        Tensor(name=name, dtype=graph.dtype_of_array(array), shape=shapes[name])
        for name, array in large.items()
    )
    graph.declare(model, "output", outputs)
    dependence = row_dependence(model, run, arrays) if counts is not None else None
    independent = in_rows and dependence is None
    signature = Signature(inputs, outputs, independent_rows=independent or counts is None)
    notes = () if dependence is None else (dependence,)
    data = graph.write(model)
    # Sums are divided among threads, and a server may have fewer of them than this machine.
    alone = graph.evaluator(title, data, threads=1)
    off = rounding(large, graph.evaluate_rows(alone, arrays)) if independent else 0.0
    return Conversion(data, signature, notes, off)


def _sort(owner: Any) -> None:
    graph.sort_from_outputs(owner)
    for node in owner.node:
        for inner in graph.subgraphs(node):
            _sort(inner)


def _inner_graphs(owner: Any) -> Iterator[Any]:
    for node in graph.all_nodes(owner):
        yield from graph.subgraphs(node)


def _values(owner: Any) -> Iterator[str]:
    """Return the names of all values in the order of the nodes that read or make them."""
    yield from (value.name for value in owner.input)
    for node in owner.node:
        yield from node.input
        for inner in graph.subgraphs(node):
            yield from _values(inner)
        yield from node.output
    yield from (value.name for value in owner.output)


def _rename(owner: Any, names: Mapping[str, str]) -> None:
    """Rename every value, those of inner graphs too, whose names are no others' than their own."""
    for part in (owner, *_inner_graphs(owner)):
        for value in (*part.input, *part.output, *part.initializer):
            value.name = names[value.name]
        for node in part.node:
            for side in (node.input, node.output):
                side[:] = [names[name] if name else "" for name in side]
        del part.value_info[:]
        part.ClearField("doc_string")
        part.name = "model" if part is owner else "body"
