"""The ways in which PyTorch writes ONNX: `torch.export`, and tracing. Judges no parity.

What exporters print and log is kept back; what matters of it is in the error. Nothing of this machine, such
as the paths of source files, stays in the graph.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from lading.convert import graph
from lading.convert.torch_calls import ModuleCall, layer_of
from lading.errors import ConverterFailed, missing_extra, one_line

_MOST_BYTES = 1_500_000_000  # protobuf's own limit is 2 GiB
_OPERATOR = re.compile(r"OpOverload\(op='([\w.:]+)'|operator '?(aten::\w+|\w+::\w+)'?")
_FOR_VALUES = ("data-dependent", "DataDependent", "GuardOnDataDependent", "UserError: Could not guard")
_VALUES_HINT = "choose between values with `torch.where`: ONNX holds one graph for all rows"
_OPERATOR_HINT = "compute it with other operators of PyTorch, or before the model"


Limits = dict[tuple[int, int], "tuple[int, int | None] | None"]
"""The least and largest open size by (input, axis); None if it must be, say, even."""


class Exported:
    """An exported graph, and the least and largest open sizes for which it was made, by (input, axis)."""

    def __init__(self, model: Any, limits: Limits) -> None:
        self.model = model
        self.limits = limits


Route = Callable[[ModuleCall, Mapping[str, Any], Mapping[tuple[str, int], str]], Exported]


def by_export(
    call: ModuleCall, tensors: Mapping[str, Any], opened: Mapping[tuple[str, int], str]
) -> Exported:
    """Export through `torch.export`; raises `ConverterFailed`, `ExtraMissing`."""
    try:
        import onnxscript  # noqa: F401 - torch says less if it is missing
    except ImportError as error:
        raise missing_extra("onnxscript", "torch", error) from None
    # Named after nothing: names of outputs may be those of values inside, and the graph is invalid then.
    axes = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis in range(tensor.ndim) if (name, axis) in opened}
        for name, tensor in tensors.items()
    )
    _forget_decompositions()
    with _quiet():
        try:
            program = torch.onnx.export(
                _Flat(call, tuple(tensors)),
                tuple(tensors.values()),
                dynamo=True,
                dynamic_shapes=(axes,),
                external_data=False,
                verbose=False,
                optimize=True,
            )
        except Exception as error:  # the exporter wraps what a module raises in errors of its own
            raise _failed(call, error) from error
    _check_size(call, program.model_proto.ByteSize())
    return Exported(_stripped(program.model_proto), _limits(program.exported_program))


def by_tracing(
    call: ModuleCall, tensors: Mapping[str, Any], opened: Mapping[tuple[str, int], str]
) -> Exported:
    """Export by running the module once; raises `ConverterFailed` if a value of Python's decided anything."""
    onnx = graph.import_onnx()
    names = [f"input_{at}" for at in range(len(tensors))]
    axes = {
        own: {axis: label for axis in range(tensor.ndim) if (label := opened.get((name, axis)))}
        for own, (name, tensor) in zip(names, tensors.items(), strict=True)
    }
    file = io.BytesIO()
    with _quiet() as messages, _without_streams():
        try:
            torch.onnx.export(
                _Flat(call, tuple(tensors)),
                tuple(tensors.values()),
                file,
                dynamo=False,
                input_names=names,
                dynamic_axes=axes,
                training=torch.onnx.TrainingMode.PRESERVE,
                opset_version=18,
            )
        except Exception as error:
            raise _failed(call, error) from error
    # Tracing warns of each value that it froze; whether that matters cannot be seen from samples.
    frozen = [message for kind, message in messages if kind == "TracerWarning"]
    if frozen:
        raise ConverterFailed(
            f"`{call.title}`, traced",
            expected="a graph that holds for all values",
            found=frozen[0].split(". ")[0],
            hint=_VALUES_HINT,
        )
    data = file.getvalue()
    _check_size(call, len(data))
    model = onnx.load_from_string(data)
    if len(model.graph.input) != len(tensors):
        raise ConverterFailed(
            f"`{call.title}`, traced",
            expected=f"{len(tensors)} inputs",
            found=f"{len(model.graph.input)}: the others change nothing",
        )
    return Exported(_stripped(model), {})


def _forget_decompositions() -> None:
    # The exporter registers loops for these while it works; a second export in a process would find what the
    # first one cached, and fix the length of sequences (torch 2.13).
    for operator in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        getattr(operator, "_dispatch_cache", {}).clear()


ROUTES: Sequence[tuple[str, Route]] = (
    ("torch.onnx.export(dynamo=True)", by_export),
    ("torch.onnx.export(dynamo=False)", by_tracing),
)


class _Flat(torch.nn.Module):  # type: ignore[misc]
    """A module with tensors in and a tuple of tensors out, whatever `forward` returns."""

    def __init__(self, call: ModuleCall, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module = call.module
        self._call = call
        self._names = names
        # Not `eval()`, which would reach the module: its mode is that of `ModuleCall.evaluating`.
        self.training = False

    def forward(self, *tensors: Any) -> tuple[Any, ...]:
        """Return the module's tensors."""
        return self._call.tensors_of(dict(zip(self._names, tensors, strict=True)))


@contextlib.contextmanager
def _quiet() -> Iterator[list[tuple[str, str]]]:
    """Keep back what is printed, logged and warned of; return the warnings, which it has in the end."""
    messages: list[tuple[str, str]] = []
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("always")
            try:
                yield messages
            finally:
                messages += [
                    (each.category.__name__, one_line(Warning(each.message)))
                    for each in caught
                    # There it is about the sizes that a layer was called with, which ONNX Runtime checks.
                    if not each.filename.endswith("torch/nn/modules/rnn.py")
                ]
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _without_streams() -> Iterator[None]:
    """Keep back what native code prints: the tracing exporter shows the whole graph if it fails."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def _failed(call: ModuleCall, error: Exception) -> ConverterFailed:
    """Return what an exporter's error says, as one sentence: the layer or operator, and the reason."""
    # The exporter's own error says what to do next with the exporter; the reason is further down.
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    texts = [f"{type(each).__name__}: {each}" for each in chain]
    where = next((layer for each in reversed(chain) if (layer := layer_of(each, call.module))), "")
    if any(word in text for text in texts for word in _FOR_VALUES):
        return ConverterFailed(
            f"`{call.title}`",
            expected="the same operators for all values",
            found=f"{where}control flow that depends on values{_code_place(texts)}",
            hint=_VALUES_HINT,
        )
    matches = (_OPERATOR.search(text) for text in texts)
    operator = next((match[1] or match[2] for match in matches if match), None)
    if operator is not None:
        return ConverterFailed(
            f"`{call.title}`",
            expected="operators that ONNX has",
            found=f"{where}`{operator}`",
            hint=_OPERATOR_HINT,
        )
    root = chain[-1]
    return ConverterFailed(
        f"`{call.title}`",
        expected="a module that PyTorch exports to ONNX",
        found=f"{where}{type(root).__name__}: {one_line(root)}",
    )


def _code_place(texts: Sequence[str]) -> str:
    """Return the line of code that a message of `torch.export` names first, or nothing."""
    places = (re.search(r'File "[^"]*?([^/"]+)", line (\d+)', text) for text in texts)
    return next((f" ({place[1]}, line {place[2]})" for place in places if place), "")


def open_axes_of(program: Any) -> dict[tuple[str, int], str]:
    """Return the symbol of each axis of a program's inputs that is open."""
    return {
        (name, axis): str(size)
        for name, shape in _input_shapes(program)
        for axis, size in enumerate(shape)
        if not isinstance(size, int)
    }


def positional_inputs(program: Any, title: str) -> int:
    """Return how many inputs of a program are taken by their order; raises `ConverterFailed`."""
    ordered, named = program.call_spec.in_spec.children()
    if not all(spec.is_leaf() for spec in (*ordered.children(), *named.children())):
        raise ConverterFailed(
            f"`{title}`",
            expected="inputs that are tensors",
            found="lists, tuples or dicts of tensors among them",
            hint="export a module whose `forward` takes each tensor by itself",
        )
    return len(ordered.children())


def _limits(program: Any) -> Limits:
    """Return the least and largest size of each open axis for which a program was made; None if only some."""
    limits: Limits = {}
    for at, (_, shape) in enumerate(_input_shapes(program) if program is not None else ()):
        for axis, size in enumerate(shape):
            if isinstance(size, int):
                continue
            # Such as 2*s: the exporter took a fix of its own, by which odd sizes are not taken.
            if not size.node.expr.is_Symbol:
                limits[at, axis] = None
                continue
            known = program.range_constraints.get(size.node.expr)
            if known is not None:
                upper = str(known.upper)  # a number, or `int_oo`
                limits[at, axis] = int(known.lower), int(upper) if upper.isdecimal() else None
    return limits


def _input_shapes(program: Any) -> Iterator[tuple[str, Any]]:
    inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs:
            yield node.name, getattr(node.meta.get("val"), "shape", ())


def _stripped(model: Any) -> Any:
    """Take out of a graph what is no part of the computation: where its source is, and inferred shapes."""
    for field in ("doc_string", "producer_name", "producer_version", "domain", "model_version"):
        model.ClearField(field)
    del model.metadata_props[:]
    owners = [model.graph, *model.functions]
    for owner in owners:
        owner.ClearField("doc_string")
        _strip(owner)
    model.graph.name = "model"
    return model


def _strip(owner: Any) -> None:
    # A function of ONNX has neither inputs with a type nor weights.
    typed = [*owner.input, *owner.output, *owner.initializer] if hasattr(owner, "initializer") else []
    for part in (owner, *typed, *owner.node):
        del part.metadata_props[:]
        if part is not owner:
            part.ClearField("doc_string")
    del owner.value_info[:]
    for node in owner.node:
        for inner in graph.subgraphs(node):
            inner.ClearField("doc_string")
            _strip(inner)


def _check_size(call: ModuleCall, size: int) -> None:
    if size > _MOST_BYTES:
        raise ConverterFailed(
            f"`{call.title}`",
            expected=f"at most {_MOST_BYTES} bytes of weights",
            found=f"{size} bytes",
            hint="a smaller model, or one in float16 (`module.half()`)",
        )
