"""PyTorch: modules and exported programs, their own answers and their ONNX form.

Expected outputs come from the module itself, before anything is exported. Trains nothing, judges no parity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lading.convert import Conversion, Plan, TrainedModel, graph, onnx_inputs
from lading.convert.onnx_file import OnnxGraph
from lading.convert.onnx_guards import refuse_negatives
from lading.convert.onnx_inputs import BatchAxis
from lading.convert.row_dependence import is_random
from lading.convert.table import Table
from lading.convert.torch_archive import load_program
from lading.convert.torch_calls import ModuleCall
from lading.convert.torch_export import ROUTES, Exported, Route, open_axes_of, positional_inputs
from lading.convert.torch_samples import arrays_of, read_calls, tensors_of
from lading.convert.torch_sizes import OpenAxes, Sizes, observed_shapes
from lading.errors import ConverterFailed, InvalidSetting, LadingError, SamplesRefused
from lading.signature import BATCH, Array, Tensor

_LABEL = "label"
_MOST_SEEN = 64  # tables whose answers are kept: those that packing asks for again
_SAVED_HINT = "build the module, `load_state_dict` it, and pack the module: `lading pack train:model`"


def open_torch(model: Any, batch_axis: BatchAxis, open_axes: OpenAxes, *, labelled: bool) -> TorchModel:
    """Return the converter of a module, an exported program or the file of one.

    Raises `ConverterFailed`, `InvalidSetting`.
    """
    title = type(model).__name__
    if isinstance(model, str | Path):
        model, title = load_program(Path(model)), Path(model).name
    if isinstance(model, torch.export.ExportedProgram):
        for setting, axes in (("batch_axis", batch_axis), ("open_axes", open_axes)):
            if axes:
                expected = "a module: a program has the open axes that it was exported with"
                raise InvalidSetting(f"`{setting}`", expected=expected, found="an exported program")
        return TorchProgram(model, title, labelled=labelled)
    model = getattr(model, "_orig_mod", model)  # what `torch.compile` was called with
    if isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        model = model.module
    if isinstance(model, torch.jit.ScriptModule):
        raise _other(
            model, "a ScriptModule, whose code PyTorch no longer exports", "pack the module it was made of"
        )
    if isinstance(model, torch.nn.Module):
        title = type(model).__name__
        return TorchModel(ModuleCall(model, title), batch_axis, open_axes, labelled=labelled)
    if isinstance(model, Mapping):
        raise _other(model, "a `state_dict`: weights without the code that uses them", _SAVED_HINT)
    raise _other(model, f"`{type(model).__module__}.{type(model).__qualname__}`", _SAVED_HINT)


class TorchModel:
    """One module; satisfies `lading.convert.TrainedModel`."""

    def __init__(
        self, call: ModuleCall, batch_axis: BatchAxis, open_axes: OpenAxes, *, labelled: bool
    ) -> None:
        """Take a module; with ``labelled`` its only output becomes a label and the numbers of the classes."""
        self.title = call.title
        self.framework = self.expected_from = f"torch {torch.__version__}"
        self.packages: tuple[str, ...] = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")
        self.class_values: tuple[str, ...] = ()
        self.purpose = "classification" if labelled else "inference"
        self._call = call
        self._axes = batch_axis
        self._open_axes = open_axes
        self._labelled = labelled
        self._columns: tuple[str, ...] = ()
        self._seen: list[tuple[Table, dict[str, Array]]] = []

    def table(self, samples: Any) -> Table:
        """Read an array, a dict or a tuple, or a list of several calls, and try the module on the first."""
        calls, self._columns = read_calls(samples, self._call)
        self._dtypes = {name: tensor.dtype for name, tensor in calls[0].items()}
        self._batches = [arrays_of(tensors) for tensors in calls]
        self._sizes = self._open_sizes()
        first = self._batches[0]
        # So few that asking several times costs little, whatever the samples are.
        few = self._sizes.few(first)
        if (name := is_random(self._answer, few)) is not None:
            raise ConverterFailed(
                f"output `{name}` of `{self.title}`",
                expected="the same answer to the same input",
                found="another one the second time, although the module is in eval mode",
                hint="use `nn.Dropout`, or `training=self.training`; draw random numbers outside of it",
            )
        self._name_labels(self._answer(first))
        self._check_padding(few)
        self._without_negatives = [name for name in first if self._refuses_negatives(few, name)]
        self._seen.clear()
        table = Table("named", first)
        self._check_names(self.outputs(table))
        return table

    def _open_sizes(self) -> Sizes:
        return Sizes.of(self._batches, self._axes, self._open_axes, self.title)

    def outputs(self, table: Table) -> dict[str, Array]:
        """Compute the outputs with the module itself, once for each table."""
        for known, answers in self._seen:
            if known is table:
                return answers
        answers = self._outputs(table.arrays)
        if len(self._seen) < _MOST_SEEN:
            self._seen.append((table, answers))
        return answers

    def other_calls(self, table: Table) -> Iterator[tuple[str, Table]]:
        """Return calls of other sizes, with negative numbers, and rows drawn between the samples."""
        for title, arrays in self._sizes.calls(self._batches):
            yield title, table.with_arrays(dict(arrays))
        few = self._sizes.few(table.arrays)
        for name in few:
            changed = _with_a_negative(few, name)
            if changed is not None:
                yield f"a negative number in `{name}`", table.with_arrays(changed)

    def plans(self, table: Table, dtypes: tuple[str, ...]) -> Iterator[Plan]:
        """Return the ways to export; raises `InvalidSetting` for a dtype that the module does not have."""
        floats = [array.dtype.name for array in table.arrays.values() if array.dtype.kind == "f"]
        if len(dtypes) == 1 and floats and floats[0] != dtypes[0]:
            expected = f"`auto`: `{self.title}` takes {floats[0]}"
            raise InvalidSetting("`dtype`", expected=expected, found=f"`{dtypes[0]}`")
        for title, route in ROUTES:
            yield Plan(floats[0] if floats else "float32", f"`{title}`", partial(self._convert, title, route))

    def parts(self) -> Iterator[tuple[str, TrainedModel]]:
        """Return nothing: layers have no answers that a caller sees."""
        return iter(())

    def _convert(self, title: str, route: Route, table: Table, expected: dict[str, Array]) -> Conversion:
        example = tensors_of(self._sizes.example(table.arrays), self._dtypes)
        with self._call.evaluating():
            exported = route(self._call, example, self._sizes.names)
        model = exported.model
        self._name_ends(model, table.arrays, expected)
        opset = next((opset.version for opset in model.opset_import if opset.domain == ""), 0)
        model.producer_name, model.producer_version = title, torch.__version__
        shapes = observed_shapes(
            [(self._sizes.measured(seen.arrays), outputs) for seen, outputs in self._seen]
        )
        opened = _ExportedGraph(model, self.title, self._axes, self._columns, shapes)
        conversion = opened.convert(table, expected)
        self._check_limits(exported, conversion, table)
        note = f"exported with `{title}` of torch {torch.__version__}, opset {opset}"
        return Conversion(
            conversion.model, conversion.signature, (note, *conversion.notes), conversion.rounding
        )

    def _outputs(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        answers = self._answer(arrays)
        if not self.class_values:
            return answers
        ((_, scores),) = answers.items()
        return {_LABEL: scores.argmax(axis=1), self._scores: scores}

    def _answer(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._call.run(tensors_of(arrays, self._dtypes))

    def _name_labels(self, answers: Mapping[str, Array]) -> None:
        """Make a label of the only output if the classes have names, and see whether it has probabilities."""
        values = next(iter(answers.values()))
        if not self._labelled or len(answers) > 1 or values.ndim != 2 or values.dtype.kind != "f":
            return
        wide = values.astype(np.float64)
        shares = (wide >= -1e-6).all() and np.allclose(wide.sum(axis=1), 1.0, atol=1e-3)
        self._scores = "probabilities" if shares and values.shape[1] > 1 else "scores"
        self.class_values = tuple(str(at) for at in range(values.shape[1]))

    def _check_names(self, answers: Mapping[str, Array]) -> None:
        both = [name for name in answers if name in self._dtypes]
        if both:
            raise ConverterFailed(
                f"`{self.title}`",
                expected="outputs with other names than inputs",
                found=f"`{both[0]}`, which is both",
                hint="rename a parameter of `forward`, or a key of what it returns",
            )

    def _check_padding(self, arrays: Mapping[str, Array]) -> None:
        """Refuse an encoder that answers padding with zeros in eval mode alone, which no graph shows."""
        encoders = [
            name
            for name, part in self._call.module.named_modules()
            if isinstance(part, torch.nn.TransformerEncoder) and getattr(part, "use_nested_tensor", False)
        ]
        if not encoders:
            return
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(value=False)
        try:
            plain = self._answer(arrays)
        finally:
            torch.backends.mha.set_fastpath_enabled(value=fast)
        answers = self._answer(arrays)
        if not all(_close(answers[name], plain[name]) for name in answers):
            raise ConverterFailed(
                f"`{self.title}`",
                expected="the same answer with PyTorch's fast path and without it",
                found=f"`{encoders[0]}`, a TransformerEncoder, answers padding with zeros on that path alone",
                hint="`nn.TransformerEncoder(…, enable_nested_tensor=False)`, or put no padding out",
            )

    def _refuses_negatives(self, arrays: Mapping[str, Array], name: str) -> bool:
        """Return whether the module refuses a negative number where ONNX would count from the end."""
        changed = _with_a_negative(arrays, name)
        if changed is None:
            return False
        try:
            self._answer(changed)
        except SamplesRefused:
            return True
        return False

    def _name_ends(self, model: Any, arrays: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
        """Name the inputs and outputs of a graph, and their sizes."""
        # By their order: the exporters' own names may be those of values inside of the graph.
        onnx = graph.import_onnx()
        old = [value.name for value in model.graph.output]
        wanted = [name for name in expected if name != _LABEL or not self.class_values]
        inputs = [value.name for value in model.graph.input]
        if len(old) != len(wanted) or len(inputs) != len(arrays):
            raise ConverterFailed(
                f"`{self.title}`",
                expected=f"{len(arrays)} inputs and {len(wanted)} outputs in the exported graph",
                found=f"{len(inputs)} and {len(old)}",
            )
        self._check_open(graph.tensors_of(model.graph.input), arrays)
        graph.rename_inner(model, dict(zip(inputs, arrays, strict=True)))
        for value, array in zip(model.graph.input, arrays.values(), strict=True):
            _set_shape(value, self._sizes.shape(value.name, array))
        ends = [graph.copy_of(value) for value in model.graph.output]
        del model.graph.output[:]
        for value, name in zip(ends, wanted, strict=True):
            model.graph.node.append(onnx.helper.make_node("Identity", [value.name], [name]))
            value.name = name
            _set_shape(value, (None,) * expected[name].ndim)  # what they are is seen by calling the module
        if self.class_values:
            best = onnx.helper.make_node("ArgMax", [wanted[0]], [_LABEL], axis=1, keepdims=0)
            model.graph.node.append(best)
            ends.insert(0, onnx.helper.make_tensor_value_info(_LABEL, onnx.TensorProto.INT64, [None]))
        model.graph.output.extend(ends)
        for name in self._without_negatives:
            refuse_negatives(model, name)

    def _check_open(self, declared: Any, arrays: Mapping[str, Array]) -> None:
        """Check that the exporter left open what is open."""
        for name, (_, _, shape) in zip(arrays, declared, strict=True):
            for axis, size in enumerate(shape or ()):
                label = self._sizes.names.get((name, axis))
                if label is not None and isinstance(size, int):
                    raise ConverterFailed(
                        f"input `{name}` of `{self.title}`",
                        expected=f"any size of axis {axis} (`{label}`)",
                        found=f"{size} only, in the exported graph",
                        hint="`forward` uses the size as a number: take it from `x.shape` each time",
                    )

    def _check_limits(self, exported: Exported, conversion: Conversion, table: Table) -> None:
        """Compare the sizes beside those for which the graph was made, where the module may branch."""
        names = list(table.arrays)
        run: Callable[..., dict[str, Array]] | None = None
        for (at, axis), limits in exported.limits.items():
            label = self._sizes.names.get((names[at], axis))
            if limits is None:
                raise ConverterFailed(
                    f"input `{names[at]}` of `{self.title}`",
                    expected=f"any size of axis {axis} (`{label}`)",
                    found="sizes of one kind only, such as even ones",
                    hint="pad in `forward`, so that it takes every size",
                )
            least, most = limits
            sizes = ([least - 1] if least > 2 else []) + ([most + 1] if most is not None else [])
            for size in sizes if label is not None else ():
                arrays = self._sizes.resized(self._sizes.few(table.arrays), {str(label): size})
                try:
                    expected = self._outputs(arrays)
                    run = run or graph.evaluator(self.title, conversion.model)
                    answers = run(conversion.signature.cast(arrays))
                except LadingError:
                    continue  # one of both refuses it
                if any(not _close(expected[name], answers[name]) for name in expected):
                    raise ConverterFailed(
                        f"`{self.title}`",
                        expected=f"one graph for every size of `{label}`",
                        found=f"another answer at {size}: `forward` does something else there",
                        hint="do without a branch on the size, or pad to a size that does not take it",
                    )


class TorchProgram(TorchModel):
    """A program of `torch.export`, whose open axes are those that it was exported with."""

    def __init__(self, program: Any, title: str, *, labelled: bool) -> None:
        """Take `program`."""
        call = ModuleCall(program.module(), title, positional=positional_inputs(program, title))
        super().__init__(call, {}, {}, labelled=labelled)
        self._open = open_axes_of(program)

    def _open_sizes(self) -> Sizes:
        sizes = Sizes.of(self._batches, {}, {}, self.title)
        closed = [key for key, label in sizes.names.items() if label == BATCH and key not in self._open]
        if closed:
            ((name, axis), *_) = closed
            size = self._batches[0][name].shape[axis]
            raise ConverterFailed(
                f"input `{name}` of `{self.title}`",
                expected="any number of rows",
                found=f"{size} only",
                hint="export it with `dynamic_shapes`, axis 0 of every input `torch.export.Dim.DYNAMIC`",
            )
        known = {symbol: label for key, symbol in self._open.items() if (label := sizes.names.get(key))}
        for (name, axis), symbol in self._open.items():
            known.setdefault(symbol, f"{name}_{axis}")
        return Sizes({key: known[symbol] for key, symbol in self._open.items() if key[0] in self._dtypes})


class _ExportedGraph(OnnxGraph):
    """The graph that PyTorch exported, with the names of its ends; `shapes` are those of the outputs."""

    def __init__(
        self,
        model: Any,
        title: str,
        axes: BatchAxis,
        columns: tuple[str, ...],
        shapes: Mapping[str, tuple[int | str | None, ...]],
    ) -> None:
        super().__init__(model, title, axes)
        self._column_names = columns
        self._shapes = shapes

    def _output_names(self) -> dict[str, str]:
        return {value.name: value.name for value in self._model.graph.output}

    def _output_tensors(self, arrays: Mapping[str, Array]) -> tuple[Tensor, ...]:
        batched = any(tensor.batched for tensor in self._own_inputs)
        rows = BATCH if batched else onnx_inputs.size_names(self._declared).rows
        tensors = []
        for name, array in self._run(arrays).items():
            sizes = [
                (rows if axis == 0 or rows != BATCH else None) if size == BATCH else size
                for axis, size in enumerate(self._shapes[name])
            ]
            shape = tuple(f"{name}_{axis}" if size is None else size for axis, size in enumerate(sizes))
            tensors.append(Tensor(name=name, dtype=graph.dtype_of_array(array), shape=shape))
        return tuple(tensors)


def _set_shape(value: Any, shape: Sequence[int | str | None]) -> None:
    dims = value.type.tensor_type.shape
    dims.Clear()
    for size in shape:
        dim = dims.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size is not None:
            dim.dim_param = size


def _with_a_negative(arrays: Mapping[str, Array], name: str) -> dict[str, Array] | None:
    """Return the arrays with -1 in one place of the array `name`; None if it has none, or no integers."""
    array = arrays[name]
    if array.dtype.kind != "i" or (array < 0).any():
        return None
    changed = array.copy()
    changed.flat[0] = -1
    return {**arrays, name: changed}


def _close(expected: Array, answer: Array) -> bool:
    if expected.shape != answer.shape:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(expected, answer))
    size = float(np.median(np.abs(expected[np.isfinite(expected)]))) if expected.size else 0.0
    return bool(np.allclose(answer, expected, rtol=1e-3, atol=1e-4 * size, equal_nan=True))


def _other(model: Any, found: str, hint: str) -> ConverterFailed:
    where = f"`{type(model).__qualname__}`"
    return ConverterFailed(where, expected="an `nn.Module` or an `ExportedProgram`", found=found, hint=hint)
