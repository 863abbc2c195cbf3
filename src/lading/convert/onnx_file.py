"""ONNX files, taken as they are but for outputs that are no tensors and the names of a classifier's two.

Which inputs have rows is in `onnx_inputs`, what is drawn without samples in `onnx_draws`.

There is no framework to compute the expected outputs: unless they come with the samples, ONNX Runtime
computes them here, and the bundle says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs

from lading.convert import Conversion, Plan, TrainedModel, graph, onnx_draws, onnx_inputs, onnx_optional
from lading.convert.onnx_inputs import BatchAxis
from lading.convert.onnx_reading import check_ends, read_model
from lading.convert.onnx_repairs import rename_outputs, sort_nodes, widen_bfloat16
from lading.convert.row_dependence import is_random, rounding, row_dependence
from lading.convert.sequence_outputs import rewrite_outputs
from lading.convert.table import Table, is_number, make_table
from lading.errors import ConverterFailed, LadingError, SamplesRefused
from lading.onnx_runtime import import_onnxruntime
from lading.signature import BATCH, Array, Signature, Tensor

# The names that skl2onnx, onnxmltools and hand-written exports give to a classifier's two outputs.
_LABEL_NAMES = ("label", "output_label", "class", "predicted_label")
_SCORE_NAMES = ("probabilities", "output_probability", "probability", "scores")


class OnnxGraph:
    """A model that is ONNX already; satisfies `lading.convert.TrainedModel`."""

    def __init__(self, model: Any, title: str, batch_axis: BatchAxis | None = None) -> None:
        """Take a model, which is changed; `batch_axis` has the axis of rows where it is not as it seems."""
        self.title = title
        onnx, ort = graph.import_onnx(), import_onnxruntime("pack")
        producer = f"{model.producer_name} {model.producer_version}".strip()
        self.framework = f"onnx {onnx.__version__}" + (f", made by {producer}" if producer else "")
        self.expected_from = f"onnxruntime {ort.__version__} (no framework outputs were given)"
        self.packages: tuple[str, ...] = ("onnx", "onnxruntime", "numpy")
        self.class_values: tuple[str, ...] = ()
        self.purpose = "inference"
        # Expected outputs that came with samples, and the table of those samples.
        self._expected: dict[str, Array] = {}
        self._expected_of: Table | None = None
        self._in_chunks: list[bool] = []  # whether rows may run in chunks, once some have been run
        self._columns = rewrite_outputs(model, self.title)
        self._notes = self._repair(model)
        self._optional = onnx_optional.take_optional_inputs(model)
        self._left_out: tuple[str, ...] = ()
        check_ends(model, self.title)
        self._model = model
        self._axes = batch_axis or {}
        self._read_inputs()
        self._column_names: tuple[str, ...] = ()
        self._names = self._output_names()

    def _read_inputs(self) -> None:
        self._declared = onnx_inputs.declared_inputs(self._model)
        self._own_inputs = onnx_inputs.read_inputs(self._declared, self._axes, self.title)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs as the file declares them."""
        return self._own_inputs

    def table(self, samples: Any) -> Table:
        """Read an array for the only input, a mapping or a data frame by input names; None draws rows.

        Entries of a mapping that have an output's name are taken as the framework's answers.
        """
        if samples is None:
            return self._drawn
        table = make_table(samples, self.title)
        self._leave_out_optional(table)
        names = [tensor.name for tensor in self._own_inputs]
        if table.kind == "named":
            table = self._with_expected(table.arrays, names)
            self._fix_rows(table)
            return table
        if table.kind == "frame" and set(names) <= set(table.arrays):
            for tensor in self._own_inputs:
                self._check_kind(tensor, {tensor.name: table.arrays[tensor.name]})
            return Table("named", {name: _as_column(table.arrays[name]) for name in names})
        if len(names) > 1:
            raise self._refused(f"arrays by name: {', '.join(names)}", "one array")
        self._check_kind(self._own_inputs[0], table.arrays)
        if table.kind == "frame":
            self._column_names = tuple(table.arrays)
            stacked = np.column_stack(list(table.arrays.values()))  # [rows, columns]
            return Table("named", {names[0]: stacked})
        named = Table("named", {names[0]: table.arrays["X"]})
        self._fix_rows(named)
        return named

    def _leave_out_optional(self, table: Table) -> None:
        """Leave out the optional inputs that samples come without."""
        names = [tensor.name for tensor in self._own_inputs if tensor.name not in self._optional]
        known = names if table.kind == "array" and len(names) == 1 else table.arrays
        missing = tuple(name for name in self._optional if name not in known)
        for name in missing:
            onnx_optional.leave_out(self._model, name)
        if missing:
            self._optional = tuple(name for name in self._optional if name not in missing)
            self._left_out += missing
            self._axes = {name: axis for name, axis in self._axes.items() if name not in missing}
            # What was found of the model with these inputs holds no longer.
            self._in_chunks.clear()
            self.__dict__.pop("_evaluate", None)
            self._read_inputs()

    def outputs(self, table: Table) -> dict[str, Array]:
        """Return the expected outputs that came with these very samples, else those of ONNX Runtime here."""
        if self._expected and table is self._expected_of:
            return self._expected
        return {self._names[name]: value for name, value in self._run(self._cast(table.arrays)).items()}

    def plans(self, table: Table, dtypes: tuple[str, ...]) -> Iterator[Plan]:  # noqa: ARG002 - the file has its own
        """Return the only way: as the file is."""
        floats = [tensor.dtype for tensor in self._own_inputs if tensor.dtype.startswith("float")]
        yield Plan(floats[0] if floats else "float32", "as the file has it", self.convert)

    def other_calls(self, table: Table) -> Iterator[tuple[str, Table]]:  # noqa: ARG002
        """Return nothing: there is no framework to compare other sizes with."""
        return iter(())

    def parts(self) -> Iterator[tuple[str, TrainedModel]]:
        """Return nothing: a graph has no steps with answers of their own."""
        return iter(())

    def convert(self, table: Table, expected: dict[str, Array]) -> Conversion:  # noqa: ARG002
        """Return the graph with a signature as these samples show it; raises `ConverterFailed`."""
        arrays = self._cast(table.arrays)
        if (name := is_random(self._run, arrays)) is not None:
            raise ConverterFailed(
                f"output `{self._names[name]}` of `{self.title}`",
                expected="the same answer to the same input",
                found="another one the second time",
                hint="random answers cannot be proved: let the model take its random numbers as an input",
            )
        inputs = self._inputs(table)
        outputs = self._output_tensors(arrays)
        model = graph.copy_of(self._model)
        rename_outputs(model, self._names)
        graph.declare(model, "input", [*inputs, *self._initialised(model)])
        graph.declare(model, "output", outputs)
        dependence = row_dependence(self._model, self._evaluate, arrays) if self._has_rows else None
        notes = (*self._notes, *onnx_optional.note(self._optional, self._left_out))
        if dependence is not None:
            notes += (f"{dependence}: requests are never merged, each is run as it comes",)
        signature = Signature(inputs, outputs, independent_rows=dependence is None)
        data = bytes(model.SerializeToString(deterministic=True))
        del model  # As large as the file; what follows opens a session of that size.
        return Conversion(data, signature, notes, self._rounding(data, arrays) if dependence is None else 0.0)

    def _rounding(self, model: bytes, arrays: Mapping[str, Array]) -> float:
        # Sums are divided among threads, and a server may have fewer of them than this machine.
        alone = graph.evaluator(self.title, model, threads=1)
        in_chunks = self._has_rows and self._in_chunks[0]
        answers = graph.evaluate_rows(alone, arrays) if in_chunks else alone(arrays)
        return rounding({self._names[name]: array for name, array in self._run(arrays).items()}, answers)

    def _repair(self, model: Any) -> tuple[str, ...]:
        """Bring the file to what a bundle can hold; return notes of what that changed."""
        notes = []
        if sort_nodes(model.graph):
            notes.append(
                f"the nodes of {self.title} were not in the order that ONNX asks for, which its checker"
                " refuses and ONNX Runtime ignores; the bundle has them in order"
            )
        widened = widen_bfloat16(model)
        if widened:
            names = ", ".join(f"`{name}`" for name in widened)
            notes.append(f"{names}: bfloat16 in the file, float32 in requests, which holds every bfloat16")
        return tuple(notes)

    @property
    def _has_rows(self) -> bool:
        return all(tensor.batched for tensor in self._own_inputs)

    def _initialised(self, model: Any) -> list[Tensor]:
        """Return the initializers if IR version 3 wants them among the inputs, too."""
        if model.ir_version >= 4:
            return []
        tensors = []
        for initializer in model.graph.initializer:
            dtype = graph.dtype_of(initializer.data_type)
            if dtype is not None:
                tensors.append(Tensor(name=initializer.name, dtype=dtype, shape=tuple(initializer.dims)))
        return tensors

    def _output_names(self) -> dict[str, str]:
        """Return each output's name in the bundle; a classifier has `label` and `probabilities` or `scores`.

        The names of other models are the graph's own.
        """
        declared = graph.tensors_of(self._model.graph.output)
        names = {name: name for name, _, _ in declared}
        inputs = {tensor.name for tensor in self._own_inputs}
        if len(declared) != 2 or inputs & {"label", "probabilities", "scores"}:
            return names
        (label, label_dtype, _), (score, score_dtype, _) = declared
        was_zip_map = score in self._columns
        is_label = label_dtype in ("int64", "string") and (was_zip_map or label in _LABEL_NAMES)
        is_score = (score_dtype or "").startswith("float") and (was_zip_map or score in _SCORE_NAMES)
        if is_label and is_score:
            names = {label: "label", score: "scores"}
            if self._looks_like_probabilities(score):
                names[score] = "probabilities"
            self.class_values = self._columns.get(score, ())
            self.purpose = "classification"
        return names

    def _looks_like_probabilities(self, score: str) -> bool:
        """Return whether the values of drawn rows sum to 1, unless the name says what they are."""
        if score == "scores":
            return False
        try:
            values = self._run(self._drawn.arrays)[score].astype(np.float64)  # [rows, classes]
        except LadingError:
            return "prob" in score  # drawn rows need not suit the model; then only its name is left
        # float32 sums of a softmax over many classes are off by more than its single values.
        in_range = (values >= -1e-6).all() and (values <= 1 + 1e-6).all()
        return bool(in_range and np.allclose(values.sum(axis=-1), 1.0, atol=1e-3))

    def _inputs(self, table: Table) -> tuple[Tensor, ...]:
        tensors = []
        for tensor in self._own_inputs:
            columns = self._column_names if tensor.shape[-1:] == (len(self._column_names),) else ()
            nan = table.has_nan(tensor.name) and tensor.dtype.startswith("float")
            fields: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape}
            tensors.append(Tensor(**fields, columns=columns, allows_nan=nan))
        return tuple(tensors)

    def _output_tensors(self, arrays: Mapping[str, Array]) -> tuple[Tensor, ...]:
        outputs = graph.tensors_of(self._model.graph.output)
        names = onnx_inputs.size_names([*self._declared, *outputs])
        # A `batch` that is no batch here has the name that it has among the inputs.
        declared = {
            name: tuple(
                size and (size if self._has_rows else names.of(name, axis, size))
                for axis, size in enumerate(shape)
            )
            if shape is not None
            else None
            for name, _, shape in outputs
        }
        large = self._run(arrays)
        small, counts = large, None
        if any(tensor.batched for tensor in self._own_inputs):
            # Two runs of different row counts: what changes with the rows is the batch.
            rows = max(len(arrays[tensor.name]) for tensor in self._own_inputs if tensor.batched)
            few = np.arange(rows - 1) if rows > 1 else np.zeros(2, dtype=np.intp)
            counts = len(few), rows
            small = self._run(
                {
                    tensor.name: arrays[tensor.name][few] if tensor.batched else arrays[tensor.name]
                    for tensor in self._own_inputs
                }
            )
        # A size may follow from another size, or from a value that a request has once.
        open_sizes = bool(onnx_inputs.open_sizes(self._own_inputs)) or not self._has_rows
        shapes = graph.observe_shapes(declared, small, large, open_sizes=open_sizes, rows=counts)
        tensors = []
        for name, array in large.items():
            columns = self._columns.get(name, ())
            fits = shapes[name][-1:] == (len(columns),) and len(set(columns)) == len(columns)
            fields: dict[str, Any] = {"dtype": graph.dtype_of_array(array), "shape": shapes[name]}
            tensors.append(Tensor(name=self._names[name], columns=columns if fits else (), **fields))
        return tuple(tensors)

    @cached_property
    def _evaluate(self) -> graph.Evaluate:
        return graph.evaluator(self.title, self._model.SerializeToString())

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        if not self._has_rows:
            return self._evaluate(arrays)
        if not self._in_chunks:
            self._in_chunks.append(self._may_run_in_chunks(arrays))
        return graph.evaluate_rows(self._evaluate, arrays) if self._in_chunks[0] else self._evaluate(arrays)

    def _may_run_in_chunks(self, arrays: Mapping[str, Array]) -> bool:
        """Return whether rows have the same answers in several runs, and those can be joined."""
        for rows in (2, 3):
            few = {name: array[np.arange(rows) % len(array)] for name, array in arrays.items()}
            try:
                answers = self._evaluate(few).values()
            except ConverterFailed:
                return False
            # One number of rows is not enough: of 8 steps and 8 rows, either may come first.
            if any(array.shape[:1] != (rows,) for array in answers):
                return False
        return row_dependence(self._model, self._evaluate, arrays) is None

    def _check_kind(self, tensor: Tensor, columns: Mapping[str, Array]) -> None:
        """Refuse text where the model takes something else, by its column, row and value."""
        if tensor.dtype == "string":
            return
        for name, array in columns.items():
            if array.dtype.kind != "O":
                continue
            texts = (index for index, text in np.ndenumerate(array) if not is_number(text))
            index = next(texts, (0,) * array.ndim)  # numbers as texts are texts, too
            column = name if len(index) == 1 else f"{name}{list(index[1:])}"
            raise SamplesRefused(
                f"samples of `{self.title}`, column `{column}`",
                expected=f"values of `{tensor}`",
                found=f"the text `{array[index]}` in row {index[0]}",
            )

    def _cast(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        table = Table("named", dict(arrays))
        try:
            return Signature(self._inputs(table), ()).cast(arrays)
        except LadingError as error:
            raise self._refused(error.expected or error.where, error.found or "other values") from error

    def _with_expected(self, arrays: dict[str, Array], names: list[str]) -> Table:
        inputs = {name: array for name, array in arrays.items() if name in names}
        missing = [name for name in names if name not in inputs]
        if missing and len(names) == 1 and len(arrays) == 1:
            inputs, missing = {names[0]: next(iter(arrays.values()))}, []
        if missing:
            raise self._refused(f"input `{missing[0]}`", ", ".join(f"`{name}`" for name in arrays))
        for tensor in self._own_inputs:
            self._check_kind(tensor, {tensor.name: inputs[tensor.name]})
        self._expected = self._read_expected(
            {name: value for name, value in arrays.items() if name not in inputs}
        )
        self._expected_of = Table("named", {name: inputs[name] for name in names})
        return self._expected_of

    def _read_expected(self, arrays: dict[str, Array]) -> dict[str, Array]:
        if not arrays:
            return {}
        known = {**self._names, **{new: new for new in self._names.values()}}
        unknown = [name for name in arrays if name not in known]
        outputs = {known[name]: array for name, array in arrays.items() if name in known}
        if unknown or outputs.keys() != set(self._names.values()):
            every = ", ".join(f"`{name}`" for name in sorted(self._names.values()))
            expected = f"nothing but the inputs, or every output: {every}"
            raise self._refused(expected, ", ".join(f"`{name}`" for name in arrays))
        self.expected_from = "the outputs that were given with the samples"
        return outputs

    @cached_property
    def _drawn(self) -> Table:
        """Seeded values for every input, of sizes that the model takes; raises `SamplesRefused`."""
        _ = self._evaluate  # A model that does not load at all says so here, and not that it takes no size.
        known = onnx_draws.KnownValues.of(self._model)
        try:
            arrays = onnx_draws.draw_inputs(self._own_inputs, known, self._run, self.title)
        except SamplesRefused as refusal:
            if not self._has_rows:
                raise
            try:
                arrays = onnx_draws.draw_inputs(
                    self._own_inputs, known, self._evaluate, self.title, most_rows=1
                )
            except SamplesRefused:
                raise refusal from None
        table = Table("named", arrays)
        self._fix_rows(table)
        return table

    def _fix_rows(self, table: Table) -> None:
        """Fix the batch to one row where the model takes no more, whatever it declares."""
        if not self._has_rows:
            return
        arrays = self._cast(table.arrays)
        if self._runs(arrays, 2) or not self._runs(arrays, 1):
            return
        rows = len(next(iter(arrays.values())))
        if rows > 1:
            raise self._refused("one row, because the model takes no more in one call", f"{rows} rows")
        fixed = (tuple(1 if size == BATCH else size for size in tensor.shape) for tensor in self._own_inputs)
        self._own_inputs = tuple(
            structs.replace(tensor, shape=shape)
            for tensor, shape in zip(self._own_inputs, fixed, strict=True)
        )
        self._notes += (f"{self.title} takes one row in a call, although it declares more",)

    def _runs(self, arrays: Mapping[str, Array], rows: int) -> bool:
        try:
            self._evaluate({name: array[np.arange(rows) % len(array)] for name, array in arrays.items()})
        except ConverterFailed:
            return False
        return True

    def _refused(self, expected: str, actual: str) -> SamplesRefused:
        return SamplesRefused(f"samples of `{self.title}`", expected=expected, found=actual)


class OnnxFile(OnnxGraph):
    """The model in an ONNX file."""

    def __init__(self, path: Path, batch_axis: BatchAxis | None = None) -> None:
        """Read the file at `path`."""
        self.path = path
        super().__init__(read_model(path), path.name, batch_axis)


def _as_column(array: Array) -> Array:
    return array.reshape(-1, 1) if array.ndim == 1 else array
