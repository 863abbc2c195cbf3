"""A model of a framework that computes with tensors: its own answers, and the ways to make ONNX of it.

Satisfies `lading.convert.TrainedModel` for whatever can be called with arrays by name and exported as a
graph. Imports no framework: a `TensorSource` is one. Judges no parity.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from lading.convert import Conversion, Plan, TrainedModel, exported, graph, onnx_inputs, open_sizes
from lading.convert.onnx_inputs import Declared
from lading.convert.row_dependence import is_random, row_dependence
from lading.convert.table import Table
from lading.convert.tensor_samples import read_arrays
from lading.errors import ConversionError, ConverterFailed, InputError, SamplesRefused, one_line
from lading.signature import Array, Signature, Tensor

_FEW_ROWS = 6
_VALUES_OF_A_CALL = 100_000
_MOST_ROWS_OF_A_CALL = 1024


@dataclass(frozen=True)
class Route:
    """One way out of a framework: `export` returns the graph, its outputs in the order of the answers.

    The graph's inputs are called `exported.input_name`.
    """

    title: str
    export: Callable[[Sequence[Tensor]], Any]


class TensorSource(Protocol):
    """A model in its framework."""

    title: str
    framework: str
    packages: tuple[str, ...]
    notes: tuple[str, ...]

    def declared(self, samples: Any) -> Sequence[Declared]:
        """Return the inputs in order; open sizes are None. A model without any is asked with `samples`."""
        ...

    def aliases(self) -> Mapping[str, str]:
        """Return further names of inputs, by which samples may call them."""
        ...

    def call(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the framework's own answers by name, as at inference; raises what the framework does."""
        ...

    def hint(self, operation: str = "") -> str:
        """Return the way out where no route holds, because of an operation if one is named."""
        ...

    def routes(self) -> Sequence[Route]:
        """Return the ways to export it, best first."""
        ...

    def place_of(self, node: str) -> str:
        """Return which part of the model a node of an exported graph belongs to, or nothing."""
        ...


class TensorModel:
    """A model of named tensors; satisfies `lading.convert.TrainedModel`."""

    def __init__(self, source: TensorSource) -> None:
        self.source = source
        self.title = source.title
        self.framework = self.expected_from = source.framework
        self.packages = source.packages
        self.class_values: tuple[str, ...] = ()
        self.purpose = "inference"
        self._inputs: tuple[Tensor, ...] = ()
        self._dependence: str | None = None
        self._answers_rows = False  # each has an answer of its own
        self._fixed: tuple[str, ...] = ()

    def table(self, samples: Any) -> Table:
        """Read one array, arrays by input name or in the order of the inputs, or a data frame.

        Asks the framework which sizes may be others than in the samples, and whether rows have answers of
        their own. Raises `SamplesRefused`, and `ConverterFailed` for a model whose answers are random.
        """
        if samples is None:
            raise SamplesRefused(
                f"samples of `{self.title}`",
                expected="rows like those that the model was trained on",
                found="none",
                hint="pass `--samples FILE` (`samples=X_test` in Python): the proof is computed from them",
            )
        declared = self.source.declared(samples)
        inputs = onnx_inputs.read_inputs(declared, {}, self.title)
        arrays, columns = read_arrays(samples, inputs, self.source.aliases(), self.title)
        inputs = tuple(_with_facts(tensor, arrays[tensor.name], columns) for tensor in inputs)
        arrays = self._cast(inputs, arrays)
        few = _rows(arrays, range(_FEW_ROWS)) if _has_rows(inputs) else arrays
        self._refuse_chance(few)
        if _has_rows(inputs):
            self._dependence = row_dependence(graph.import_onnx().ModelProto(), self._run_others, few)
            self._answers_rows = self._dependence is None and self._has_row_outputs(few)
        self._inputs, self._fixed = open_sizes.settle(inputs, few, self._answers_of)
        return Table("named", arrays, independent=self._answers_rows)

    def outputs(self, table: Table) -> dict[str, Array]:
        """Return the framework's own answers, rows first; raises `SamplesRefused`."""
        answers = self._run(self._cast(self._inputs, table.arrays))
        self.purpose = "classification" if "label" in answers else "inference"
        return answers

    def plans(self, table: Table, dtypes: tuple[str, ...]) -> Iterator[Plan]:  # noqa: ARG002 - it has its own
        """Return each route, with the sizes that are open; then each with the sizes of the samples."""
        floats = [tensor.dtype for tensor in self._inputs if tensor.dtype.startswith("float")]
        dtype = floats[0] if floats else "float32"
        forms = [(self._inputs, self._fixed)]
        if names := onnx_inputs.open_sizes(self._inputs):
            fixed = open_sizes.fixed(self._inputs, table.arrays, names)
            forms.append((fixed, (*self._fixed, *open_sizes.notes(self._inputs, fixed))))
        for inputs, notes in forms:
            for route in self.source.routes():
                yield Plan(dtype, route.title, self._converter(route, inputs, notes))

    def other_calls(self, table: Table) -> Iterator[tuple[str, Table]]:  # noqa: ARG002
        """Return nothing: rows are drawn, and other sizes are compared when the model is converted."""
        return iter(())

    def parts(self) -> Iterator[tuple[str, TrainedModel]]:
        """Return nothing: the graph of a network has no steps with answers of their own."""
        return iter(())

    def _converter(
        self, route: Route, inputs: tuple[Tensor, ...], notes: tuple[str, ...]
    ) -> Callable[[Table, dict[str, Array]], Conversion]:
        def convert(table: Table, expected: dict[str, Array]) -> Conversion:
            model = self._exported(route, inputs)
            exported.refuse_operators(model, self.title, self.source.place_of, self.source.hint)
            exported.name_values(model, inputs, list(expected))
            arrays = self._cast(inputs, table.arrays)
            conversion = exported.conversion(model, self.title, inputs, arrays, in_rows=self._answers_rows)
            run = graph.evaluator(self.title, conversion.model)
            few = _rows(arrays, range(_FEW_ROWS)) if _has_rows(inputs) else arrays
            open_sizes.prove(inputs, few, self._answers_of, run, self.title)
            dependence = self._dependence or next(iter(conversion.notes), None)
            all_notes = [*self.source.notes, f"converted by {route.title}", *notes]
            if dependence is not None:
                all_notes.append(f"{dependence}: requests are never merged, each is run as it comes")
            return replace(conversion, notes=tuple(all_notes))

        return convert

    def _exported(self, route: Route, inputs: tuple[Tensor, ...]) -> Any:
        try:
            return route.export(inputs)
        except ConversionError:
            raise
        except Exception as error:  # an exporter may raise anything
            raise ConverterFailed(
                f"`{self.title}`",
                expected=f"a model that {route.title} converts",
                found=f"{type(error).__name__}: {one_line(error)}",
                hint=self.source.hint(),
            ) from error

    def _cast(self, inputs: tuple[Tensor, ...], arrays: Mapping[str, Array]) -> dict[str, Array]:
        try:
            return Signature(inputs, ()).cast(arrays)
        except InputError as error:
            where = f"samples of `{self.title}`, {error.where}"
            raise SamplesRefused(where, expected=error.expected or "", found=error.found or "") from error

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run rows in parts of one size, so that no more memory is taken for more samples."""
        rows = len(next(iter(arrays.values()))) if self._answers_rows else 0
        values = sum(array[:1].size for array in arrays.values())
        size = min(_MOST_ROWS_OF_A_CALL, max(_FEW_ROWS, _VALUES_OF_A_CALL // max(1, values)))
        if rows <= size:
            return self._run_once(arrays)
        parts = [self._run_once(_rows(arrays, range(at, at + size))) for at in range(0, rows, size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run_once(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        try:
            answers = self.source.call(arrays)
        except ConversionError:
            raise
        except Exception as error:  # a model may raise anything
            raise SamplesRefused(
                f"samples of `{self.title}`",
                expected="rows that the model answers",
                found=f"{type(error).__name__}: {_plain(error)}",
            ) from error
        # An input and an output cannot have one name.
        return {f"output_{name}" if name in arrays else name: array for name, array in answers.items()}

    def _run_others(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Return the answers to rows that are no samples; raises `ConverterFailed` if there are none."""
        try:
            return self._run_once(arrays)
        except SamplesRefused as error:
            raise ConverterFailed(error.where, expected=error.expected, found=error.found) from error

    def _answers_of(self, arrays: Mapping[str, Array]) -> dict[str, Array] | None:
        try:
            return self._run_once(arrays)
        except SamplesRefused:
            return None

    def _has_row_outputs(self, few: Mapping[str, Array]) -> bool:
        """Return whether every output has as many rows as the inputs: of 2 rows 2, and of 3 rows 3."""
        for rows in (2, 3):
            answers = self._run_once(
                {name: array[np.arange(rows) % len(array)] for name, array in few.items()}
            )
            if any(array.shape[:1] != (rows,) for array in answers.values()):
                return False
        return True

    def _refuse_chance(self, arrays: Mapping[str, Array]) -> None:
        name = is_random(self._run_once, arrays)
        if name is not None:
            raise ConverterFailed(
                f"output `{name}` of `{self.title}`",
                expected="the same answer to the same input",
                found="another one the second time",
                hint="random answers cannot be proved: take what draws numbers out of the model, or draw them"
                " before and pass them as an input",
            )


def _plain(error: Exception) -> str:
    """Return a message as one line without the colours of a terminal and Keras' list of arguments."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).partition("Arguments received by")[0]
    return one_line(ValueError(text))


def _has_rows(inputs: Sequence[Tensor]) -> bool:
    return all(tensor.batched for tensor in inputs)


def _rows(arrays: Mapping[str, Array], rows: range) -> dict[str, Array]:
    return {name: array[rows.start : rows.stop] for name, array in arrays.items()}


def _with_facts(tensor: Tensor, array: Array, columns: Sequence[str]) -> Tensor:
    nan = array.dtype.kind == "f" and tensor.dtype.startswith("float") and bool(np.isnan(array).any())
    named = tuple(columns) if tensor.shape[-1:] == (len(columns),) and len(tensor.shape) == 2 else ()
    fields: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape}
    return Tensor(**fields, columns=named, allows_nan=nan)
