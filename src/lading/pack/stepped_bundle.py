"""A model that becomes ONNX, with code before and after it, becomes one bundle.

Samples are what callers send. `preprocess` makes the rows of the model here, on which it is converted and
proved as any other; the golden outputs are those of the whole, with the framework itself in the middle.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from lading.bundle import Bundle
from lading.bundle.formats.v2 import FILES
from lading.convert import Conversion, TrainedModel
from lading.convert import graph as onnx_graph
from lading.convert.onnx_file import OnnxFile
from lading.convert.table import Table, make_frame, make_table
from lading.convert.undecided import decided_rows
from lading.errors import (
    ConverterFailed,
    InputError,
    ParityLost,
    SamplesRefused,
)
from lading.pack.code_files import code_of, imports_of
from lading.pack.converted_bundle import convert
from lading.pack.facts import Facts, with_reference
from lading.pack.own_steps import Arrays, Steps, is_named, step_names
from lading.pack.parity_search import near_ties, usual_tolerance
from lading.pack.probe_rows import gather_probe_rows
from lading.pack.proof import Proof
from lading.pack.python_bundle import (
    ROWS_OF_ONE_CALL,
    Environment,
    chosen_rows,
    depend_on_each_other,
    golden,
    write_with_environment,
)
from lading.pack.python_models import OnnxCore, OwnCode, PythonModel
from lading.pack.python_proof import Behaviour, laid_out
from lading.pack.python_tensors import input_tensors, output_tensor
from lading.pack.reference import reference_table
from lading.parity import compare
from lading.runtime.python.shim import Declared, Refusal, checked_outputs
from lading.runtime.python.steps import core_inputs
from lading.signature import Array, Signature, Tensor


@dataclass(frozen=True)
class Around:
    """The class whose methods go around a model, with what it comes with and where it runs."""

    steps: Any
    own: OwnCode
    environment: Environment


def pack_stepped(
    trained: TrainedModel, around: Around, samples: Any, facts: Facts, place: Path, dtypes: tuple[str, ...]
) -> Bundle:
    """Prove `trained` as ONNX between the steps of `around`, and write the bundle to `place`.

    Raises `ConversionError`, `InvalidSetting`, `RequirementsRefused`, `EnvironmentFailed`.
    """
    steps, own = around.steps, around.own
    names = step_names(steps)
    if samples is None:
        raise SamplesRefused(
            f"samples of `{steps.__qualname__}`",
            expected="rows like those of requests",
            found="none",
            hint="pass `--samples FILE` (`samples=X` in Python): the proof is computed from them",
        )
    files = own.named_files()
    with laid_out(files) as folder:
        # Which dtypes the middle has is known only once it is ONNX; until then there is the framework alone.
        whole = Whole(trained, Steps(steps, names, folder / FILES))
        reference = reference_table(facts.reference, whole.table)
        table = whole.table(samples)
        facts = with_reference(facts, reference, table)
        table = chosen_rows(table, facts.synthetic, whole.title, facts.note)
        answer = whole.preprocessed(table)
        rows = whole.core_table(table, answer)
        probe = gather_probe_rows(trained, rows, facts.note)
        proof = convert(trained, probe, facts, whole.dtypes(answer, dtypes))
        whole = whole.around(proof.conversion)
        code = code_of(steps, own.modules())
        model = whole.model(code.entry, {**code.modules, **files}, imports_of(code.modules))
        table = whole.decided(table, proof)
        behaviour = whole.behaviour(model, table, proof, facts)
        return write_with_environment(model, behaviour, facts, place, around.environment)


@dataclass(frozen=True)
class Whole:
    """A model with the steps around it, as they answer here; ``conversion`` is the model as ONNX."""

    trained: TrainedModel
    steps: Steps
    conversion: Conversion | None = None

    @property
    def title(self) -> str:
        """The name in messages."""
        return f"{self.steps.title} around {self.trained.title}"

    def table(self, samples: Any) -> Table:
        """Read samples: what callers send, which is the model's own input without `preprocess`."""
        if "preprocess" in self.steps.names:
            return make_table(samples, self.steps.title)
        return self.trained.table(samples)

    def preprocessed(self, table: Table) -> Any:
        """Return what `preprocess` answers for rows of callers, None without it; raises `ConverterFailed`."""
        if "preprocess" not in self.steps.names:
            return None
        return self.steps.ask("preprocess", input_tensors(table, self.steps.title)[1])

    def dtypes(self, answer: Any, dtypes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the float dtypes to try: none that would change what `preprocess` answers."""
        if answer is None:
            return dtypes
        # A file of ONNX has its own dtype, whatever is tried, and then the step is refused with a hint.
        wide = tuple(dtype for dtype in dtypes if dtype != "float32")
        return wide if wide and any(map(_needs_float64, _values(answer))) else dtypes

    def core_table(self, table: Table, answer: Any) -> Table:
        """Return the rows of the model, from what `preprocess` answers; raises `ConverterFailed`."""
        if answer is None:
            return table
        where = f"what `preprocess` of `{self.steps.title}` answers"
        if isinstance(self.trained, OnnxFile):
            # Before its file reads them: an output's name would be taken for the answer of a framework.
            inputs = core_inputs(self.trained.inputs)
            absent = [tensor.name for tensor in inputs if is_named(answer) and tensor.name not in answer]
            needed = tuple(tensor for tensor in inputs if tensor.name not in absent)
            self._checked(answer, needed or inputs, table.rows)
        try:
            return self.trained.table(self._samples(answer))
        except SamplesRefused as error:
            expected = error.expected or f"rows of `{self.trained.title}`"
            raise ConverterFailed(where, expected=expected, found=error.found, hint=error.hint) from error

    def _samples(self, answer: Any) -> Any:
        """Return an answer of `preprocess` as the model's converter reads samples."""
        if not is_named(answer) or isinstance(self.trained, OnnxFile):
            return answer
        if len(answer) == 1:
            # Its name is compared with that of the input once there is one.
            return next(iter(answer.values()))
        # An estimator of several inputs was trained on a data frame; a module takes its inputs by name.
        if not hasattr(getattr(self.trained, "model", None), "get_params"):
            return answer
        return make_frame({str(name): np.asarray(value) for name, value in answer.items()})

    def around(self, conversion: Conversion) -> Self:
        """Return the whole with the model as ONNX; raises `ConverterFailed` if it takes no rows."""
        signature = conversion.signature
        # The steps see rows of any number, and an input of one row cannot take them.
        fixed = [tensor for tensor in (*signature.inputs, *signature.outputs) if not tensor.batched]
        if fixed:
            raise ConverterFailed(
                f"`{self.trained.title}` between steps",
                expected="inputs and outputs with the rows first, however many",
                found=f"`{fixed[0].name}` `{fixed[0]}`",
            )
        return replace(self, conversion=conversion)

    @property
    def _core(self) -> Conversion:
        assert self.conversion is not None
        return self.conversion

    def takes(self) -> tuple[Tensor, ...]:
        """Return the inputs of the ONNX model as `preprocess` has to answer them."""
        return core_inputs(self._core.signature.inputs)

    def values(self, table: Table) -> dict[str, Array]:
        """Return the inputs of the ONNX model for rows of callers, checked as a server does.

        Raises `ConverterFailed`.
        """
        signature = self._core.signature
        answer = self.preprocessed(table)
        if answer is None:
            return signature.cast(table.feed(signature.inputs))
        return self._with_values(self._checked(answer, self.takes(), table.rows))

    def _checked(self, answer: Any, takes: tuple[Tensor, ...], rows: int) -> dict[str, Array]:
        """Return an answer of `preprocess` as a model process does."""
        declared = [Declared(tensor.name, tensor.dtype, tensor.shape) for tensor in takes]
        try:
            return checked_outputs(answer, declared, {"batch": rows})
        except Refusal as error:
            whose = error.where if error.where.startswith("output `") else "its outputs"
            narrowed = error.expected == "`float32`" and error.found.startswith("`float64`")
            raise ConverterFailed(
                f"what `preprocess` of `{self.steps.title}` answers, {whose}",
                expected=error.expected,
                found=error.found,
                hint="end it with `.astype(np.float32)`" if narrowed else None,
            ) from None

    def _with_values(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Return inputs of the ONNX model, whose values are checked as a server does."""
        try:
            return Signature(self.takes(), ()).cast(arrays)
        except InputError as error:
            raise ConverterFailed(
                f"what `preprocess` of `{self.steps.title}` answers, {error.where}",
                expected=error.expected,
                found=error.found,
                hint="a value may not be missing between the steps: fill it in `preprocess`",
            ) from None

    def run(self, values: Arrays) -> dict[str, Array]:
        """Run the ONNX model."""
        run = onnx_graph.evaluator(self.trained.title, self._core.model)
        return onnx_graph.evaluate_rows(run, values) if self._core.signature.independent_rows else run(values)

    def framework_outputs(self, table: Table) -> dict[str, Array]:
        """Return the answers of the framework for the rows of callers, in the dtypes of the ONNX model."""
        # `postprocess` must not see float64 here and float32 in a server.
        answers = self.trained.outputs(self.core_table(table, self.preprocessed(table)))
        return {
            tensor.name: np.asarray(answers[tensor.name]).astype(tensor.numpy_dtype)
            for tensor in self._core.signature.outputs
        }

    def finish(self, outputs: Arrays) -> dict[str, Array]:
        """Pass outputs of the model through `postprocess`, if there is one."""
        if "postprocess" not in self.steps.names:
            return dict(outputs)
        answer = self.steps.ask("postprocess", outputs)
        if not is_named(answer):
            answer = {"value": answer}
        return {str(name): _array(value) for name, value in answer.items()}

    def decided(self, table: Table, proof: Proof) -> Table:
        """Return the rows without those for which the model has no answer of its own, or two as good ones."""
        if not self._core.signature.independent_rows:
            # Such rows are one call, and its answers are not those of a part of it.
            return table.take(np.arange(min(table.rows, ROWS_OF_ONE_CALL)))
        run = onnx_graph.evaluator(self.trained.title, self._core.model)
        values = self.values(table)
        kept = decided_rows(self._core.model, run, values)
        table, values = table.take(np.flatnonzero(kept)), {name: a[kept] for name, a in values.items()}
        expected = self.framework_outputs(table)
        # The label of a near tie may be either, and what a step makes of it too.
        ties = near_ties(expected, self.run(values), proof.tolerance)
        return table.take(np.flatnonzero(~ties))

    def model(self, entry: str, files: dict[str, bytes | Path], imports: frozenset[str]) -> PythonModel:
        """Return the whole as what becomes a bundle."""
        post = "postprocess" in self.steps.names
        core = OnnxCore(
            self._core.model, self.takes(), self.run, self.trained.expected_from, self.trained.packages
        )
        return PythonModel(
            title=self.title,
            framework=self.trained.framework or f"Python {platform.python_version()}",
            entry=entry,
            steps=self.steps.names,
            files=files,
            imports=imports,
            answer=lambda table, _: self.finish(self.framework_outputs(table)),
            purpose=self.trained.purpose,
            # After `postprocess` a label may be any text.
            class_values=() if post else self.trained.class_values,
            columns=dict.fromkeys(("probabilities", "scores"), self.trained.class_values),
            core=core,
        )

    def behaviour(self, model: PythonModel, table: Table, proof: Proof, facts: Facts) -> Behaviour:
        """Compare ONNX between the steps with the framework there; return how the whole behaves.

        Raises `ParityLost`, `ConverterFailed`.
        """
        core = self._core.signature
        if "preprocess" in self.steps.names:
            inputs, arrays = input_tensors(table, self.steps.title)
        else:
            inputs, arrays = core.inputs, core.cast(table.feed(core.inputs))
        expected = model.answer(table, arrays)
        outputs = core.outputs
        if "postprocess" in self.steps.names:
            outputs = tuple(output_tensor(model, name, array, table.rows) for name, array in expected.items())
        tolerance = proof.tolerance
        # What a step computes of the outputs has a size of its own.
        if facts.tolerance is None and "postprocess" in self.steps.names:
            tolerance = usual_tolerance(expected)
        signature = Signature(inputs, outputs, independent_rows=core.independent_rows)
        # All rows and not the golden ones only: a threshold may be between two answers that agree.
        parity = compare(outputs, expected, self.finish(self.run(self.values(table))), tolerance)
        if not parity.holds:
            worst = str(parity.worst[0]) if parity.worst else "other answers"
            raise ParityLost(
                f"`{self.title}`",
                expected=f"the answers of {self.trained.expected_from} between the same steps",
                found=worst,
            )
        if core.independent_rows and depend_on_each_other(model, table, expected, signature, tolerance):
            facts.note(
                f"{self.title}: a row's answer depends on the other rows, so requests are never merged"
            )
            few = table.take(np.arange(min(table.rows, ROWS_OF_ONE_CALL)))
            signature = Signature(inputs, outputs, independent_rows=False)
            arrays = {name: array[: few.rows] for name, array in arrays.items()}
            table, expected = few, model.answer(few, arrays)
        return Behaviour(signature, golden(table, signature, arrays, expected, tolerance), tolerance)


def _values(answer: Any) -> list[Array]:
    return [np.asarray(value) for value in (answer.values() if is_named(answer) else [answer])]


def _needs_float64(array: Array) -> bool:
    if array.dtype != np.float64:
        return False
    with np.errstate(over="ignore"):
        return not np.array_equal(array.astype(np.float32), array, equal_nan=True)


def _array(value: Any) -> Array:
    array = np.asarray(value)
    return array.astype(str).astype(object) if array.dtype.kind in "US" else array
