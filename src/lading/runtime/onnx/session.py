"""A model in ONNX Runtime on the CPU.

Sends and writes no telemetry, logs nothing of its own, and passes no C++ message on as it came. Does not
merge requests and does not know labels or tolerances.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lading.errors import (
    EmptyInput,
    LadingError,
    ModelInvalid,
    OperatorUnsupported,
    RunFailed,
    RunTooLarge,
    SignatureMismatch,
    ValueRefused,
)
from lading.onnx_runtime import LOG_FATAL, SHARED_MEMORY_OPTION, import_onnxruntime
from lading.onnx_runtime.error_text import (
    error_sentence,
    is_out_of_memory,
    memory_in_error,
    session_errors,
)
from lading.onnx_runtime.refusals import refusal_in
from lading.row_chunks import ChunkSizes, FixedChunks
from lading.runtime.host.allocator import trim_heap
from lading.runtime.onnx.bindings import BindingPool
from lading.runtime.onnx.opsets import CPU_ONLY, model_versions, unsupported_version
from lading.runtime.onnx.text_rows import length_groups, row_lengths, run_groups
from lading.signature import Array, DType, Tensor

_DTYPES: dict[str, DType] = {
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(string)": "string",
}

WEIGHTS_FILE = "weights.bin"
"""Holds the weights of a saved model, both as they are and as kernels have packed them."""

ALIGNED_ABOVE_BYTES = 2**20  # `align_threshold` in ONNX Runtime's model_saving_options.h
"""ONNX Runtime starts larger tensors of that file on a page boundary; kernels crash on unaligned ones."""

# Session options, documented in onnxruntime_session_options_config_keys.h.
_SAVE_OPTIONS = {
    "optimized_model_external_initializers_file_name": WEIGHTS_FILE,
    "optimized_model_external_initializers_min_size_in_bytes": str(ALIGNED_ABOVE_BYTES + 1),
    "save_external_prepacked_constant_initializers": "1",
}


_FAR_LARGER = 4
_STRING_SPLIT_OPSET = 20


class OnnxRuntime:
    """One ONNX Runtime session; satisfies `lading.runtime.Runtime`.

    Runs of few rows go through bound buffers (`bindings`). `session` is the open session.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        save_to: Path | None = None,
        optimized: bool = False,
        divisible: bool = False,
    ) -> None:
        """Open the model at `path`; external data is looked up beside it.

        `divisible` is whether rows are independent, so that many may run in chunks.

        `save_to` is where the model is written as ONNX Runtime runs it, its weights in `WEIGHTS_FILE` beside
        it; open such a file with `optimized`. Raises `ModelInvalid`, `OperatorUnsupported`,
        `SignatureMismatch`.
        """
        self.path = path
        self.threads = max(1, threads)
        session = _open_session(path, self.threads, save_to, optimized=optimized)
        self.inputs = tuple(_tensor("input", declared) for declared in session.get_inputs())
        self.outputs = tuple(_tensor("output", declared) for declared in session.get_outputs())
        self._names = tuple(tensor.name for tensor in self.outputs)
        self._errors = session_errors()
        self.session: Any = session
        self._bindings: Any = BindingPool(session, self.inputs, self.outputs, self._errors)
        self._divisible = divisible
        self._chunks = ChunkSizes()
        # Rows of one size that ran within the budget run as they come: watching each run costs 5 µs.
        self._texts = _padded_texts(path, self.inputs)
        fixed_sizes = all(isinstance(size, int) for tensor in self.inputs for size in tensor.shape[1:])
        self._same_size = fixed_sizes and not self._texts
        self._whole_rows = 1
        # Shared by all runs, so that those in flight can be ended together.
        self._usual, self._shrinking = import_onnxruntime().RunOptions(), _shrinking_run()
        # Whether chunks of rows are all that makes one run larger than another.
        self._alike = divisible and self._same_size
        self._usual_size = self._kept_size = 0.0

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Compute `outputs` (all if None) of arrays that were cast already; raises `RunFailed`."""
        session, bindings = self.session, self._bindings
        if session is None or bindings is None:
            raise RunFailed(f"model `{self.path.name}`", expected="to be open", found="it closed")
        if outputs is None:
            outputs = self._names
        try:
            bound: dict[str, Array] | None = bindings.run(inputs, outputs, self._usual)
            if bound is not None:
                return bound
            if self._divisible and _rows(inputs) > self._whole_rows:
                return self._run_rows(session, inputs, outputs)
            options = self._usual if self._alike else self._options(self._size(inputs))
            # The public `run` checks the names once more in Python: 1.3 µs of 6.5 for a small model.
            values = session._sess.run(list(outputs), inputs, options)  # noqa: SLF001
        except self._errors as error:
            if is_out_of_memory(error):
                return self._run_in_little_memory(session, inputs, outputs)
            raise self._failure(session, error, inputs, outputs) from None
        results = dict(zip(outputs, values, strict=True))
        bindings.bind(inputs, outputs, results)
        return results

    def run_whole(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs in one run, however many rows there are; raises `RunFailed`."""
        try:
            values = self.session._sess.run(list(self._names), inputs, self._shrinking)  # noqa: SLF001
        except self._errors as error:
            raise _run_error(error_sentence(error), inputs) from None
        return dict(zip(self._names, values, strict=True))

    def _run_rows(
        self, session: Any, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Array]:
        """Compute the rows of `inputs` in chunks; raises the errors of ONNX Runtime."""
        if not self._texts or not all(name in inputs for name in self._texts):
            results = self._run_chunks(session, inputs, outputs)
            if self._same_size:
                values = sum(array.size for array in inputs.values())
                self._whole_rows = self._chunks.most(values // _rows(inputs))
            return results
        lengths = row_lengths([inputs[name] for name in self._texts])
        groups = length_groups(lengths)
        if groups:
            # The longest texts come last: with them goes what they took.
            joined = run_groups(lambda part: self._run_texts(session, part, outputs), inputs, groups)
            if joined is not None:
                return joined
        return self._run_texts(session, inputs, outputs, lengths)

    def _run_texts(
        self, session: Any, inputs: Mapping[str, Array], outputs: Sequence[str], lengths: Sequence[int] = ()
    ) -> dict[str, Array]:
        lengths = lengths or row_lengths([inputs[name] for name in self._texts])
        values = max(lengths) + 1
        if len(lengths) <= self._chunks.most(values):  # As quick as is known: not watched again.
            answers = session._sess.run(list(outputs), inputs, self._options(sum(lengths)))  # noqa: SLF001
            return dict(zip(outputs, answers, strict=True))
        return self._run_chunks(session, inputs, outputs, values)

    def _run_chunks(
        self, session: Any, inputs: Mapping[str, Array], outputs: Sequence[str], values: int = 0
    ) -> dict[str, Array]:
        rows, left = _rows(inputs), _rows(inputs)
        usual = self._usual if self._alike else self._options(self._size(inputs))

        def run(part: Mapping[str, Array]) -> dict[str, Array]:
            nonlocal left
            count = _rows(part)
            left -= count
            # After the last of several chunks ONNX Runtime returns what it has allocated for them.
            options = self._shrinking if left <= 0 and count < rows else usual
            results = dict(
                zip(outputs, session._sess.run(list(outputs), part, options), strict=True)  # noqa: SLF001
            )
            if count == rows:
                self._bindings.bind(part, outputs, results)
            return results

        return self._chunks.run(run, inputs, values=values)

    def _size(self, inputs: Mapping[str, Array]) -> int:
        """Return how large inputs are: in values, or in characters of texts that are filled up."""
        # What is absent or no array is left to ONNX Runtime, which refuses it.
        if self._texts:
            texts = [array for name, array in inputs.items() if name in self._texts]
            return sum(sum(map(len, array.ravel().tolist())) for array in texts if type(array) is np.ndarray)
        size = 0
        for array in inputs.values():  # No generator: every request passes here.
            if type(array) is np.ndarray:
                size += array.size
        return size

    def _options(self, size: int) -> Any:
        """Return the options of a run: what one takes that is far larger than usual goes back after it."""
        if size <= self._kept_size:
            return self._usual
        if not self._usual_size:  # the first run
            self._usual_size = float(size)
            self._kept_size = _FAR_LARGER * self._usual_size
            return self._usual
        # Large requests become usual if they are many, and then memory is kept for them.
        self._usual_size += (size - self._usual_size) / 16
        self._kept_size = _FAR_LARGER * self._usual_size
        return self._shrinking

    def _failure(
        self, session: Any, error: Exception, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> LadingError:
        """Return the error for a run that failed; of a refused value it names the row."""
        failure = _run_error(error_sentence(error), inputs)
        rows = _rows(inputs)
        if not isinstance(failure, ValueRefused) or not self._divisible or not rows:
            return failure
        low, high = 0, rows  # the first of the refused rows is not below `low`, and below `high`
        while high - low > 1:
            middle = (low + high) // 2
            part = {name: array[low:middle] for name, array in inputs.items()}
            try:
                self._run_rows(session, part, outputs)
                low = middle
            except self._errors as earlier:
                error, high = earlier, middle
        return refusal_in(error_sentence(error), f"row {low} of this request") or failure

    def _run_in_little_memory(
        self, session: Any, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Array]:
        """Run again after memory ran out, row by row if that may be; raises `RunTooLarge`, `RunFailed`."""

        def run(part: Mapping[str, Array]) -> dict[str, Array]:
            values = session._sess.run(list(outputs), part, self._shrinking)  # noqa: SLF001
            return dict(zip(outputs, values, strict=True))

        by_row = self._divisible and _rows(inputs) > 1
        # Twice: only after the first try has ONNX Runtime returned what earlier runs have left behind.
        for last_try in (False, True):
            try:
                return FixedChunks(1).run(run, inputs) if by_row else run(inputs)
            except self._errors as error:
                if not is_out_of_memory(error):
                    raise _run_error(error_sentence(error), inputs) from None
                if last_try:
                    raise _too_large(error) from None
        raise AssertionError("unreachable")

    def terminate(self) -> None:
        """End the runs in flight, between two operators, with `RunFailed`; later ones are not concerned."""
        ending = self._usual, self._shrinking
        self._usual, self._shrinking = import_onnxruntime().RunOptions(), _shrinking_run()
        for options in ending:
            options.terminate = True

    def close(self) -> None:
        """Release the model's memory, and return the freed heap to the system."""
        if self.session is not None:
            self.session = self._bindings = None
            trim_heap()


def _rows(inputs: Mapping[str, Array]) -> int:
    """Return how many rows all inputs have; 0 if they differ or are no arrays, which ONNX Runtime refuses."""
    rows = 0
    for array in inputs.values():
        shape = array.shape if type(array) is np.ndarray else ()
        if not shape or (rows and shape[0] != rows):
            return 0
        rows = shape[0]
    return rows


def _padded_texts(path: Path, inputs: Sequence[Tensor]) -> tuple[str, ...]:
    """Return the names of inputs whose rows may be filled up to the longest text."""
    texts = tuple(tensor.name for tensor in inputs if tensor.dtype == "string")
    opsets = model_versions(path).opsets if texts else {}
    # Tokenizer is an operator of ONNX Runtime's own, StringSplit came with opset 20.
    return texts if "com.microsoft" in opsets or opsets.get("ai.onnx", 0) >= _STRING_SPLIT_OPSET else ()


def _shrinking_run() -> Any:
    """Return the options of a run after which memory that is not in use goes back to the system."""
    options = import_onnxruntime().RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _run_error(message: str, inputs: Mapping[str, Array]) -> LadingError:
    """Return the error for a run of `inputs` that failed with `message`."""
    # What the model refuses is a value of the caller, not a defect of the model.
    refusal = refusal_in(message, "a value of this request")
    if refusal is not None:
        return refusal
    if "terminate flag" in message:
        return RunFailed("the run of this request", expected="an end in time", found="none, so it was ended")
    for name, array in inputs.items():
        if type(array) is np.ndarray and 0 in array.shape:
            expected = "at least one value, because the model fails without any"
            return EmptyInput(f"input `{name}`", expected=expected, found=f"shape `{list(array.shape)}`")
    return RunFailed("the model failed on this input", found=message)


def _too_large(error: BaseException) -> RunTooLarge:
    """Return the error for a run that needs more memory than there is."""
    left, needed = memory_in_error(error)
    return RunTooLarge(
        "the run of this request",
        expected=f"to fit into the memory for models, {left / 1e6:,.0f} MB of which are left",
        found=f"{needed / 1e6:,.0f} MB needed at once",
        hint="send fewer or shorter rows, or raise `model_memory_mb`",
    )


def _open_session(path: Path, threads: int, save_to: Path | None, *, optimized: bool) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning pool burns 40 ms of CPU after each run, and the server's own thread waits for that CPU.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*SHARED_MEMORY_OPTION)
    options.log_severity_level = LOG_FATAL
    if optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save_to is not None:
        options.optimized_model_filepath = os.fspath(save_to)
        for name, value in _SAVE_OPTIONS.items():
            options.add_session_config_entry(f"session.{name}", value)
    try:
        # By path and not as bytes: external data is found, and no second copy is made in memory.
        return ort.InferenceSession(os.fspath(path), options, providers=list(CPU_ONLY))
    except session_errors() as error:
        raise _open_error(path, error) from None


def _open_error(path: Path, error: Exception) -> LadingError:
    """Return why the model did not open: it is too new, has an unknown operator, or is broken."""
    if not path.is_file():
        return ModelInvalid(f"model `{path.name}`", expected="a file", found="none")
    too_new = unsupported_version(path.name, model_versions(path))
    if too_new is not None:
        return too_new
    message = error_sentence(error)
    where = f"model `{path.name}`"
    version = import_onnxruntime().__version__
    if "No Op registered for" in message or "is not a registered function/op" in message:
        return OperatorUnsupported(where, expected=f"operators of ONNX Runtime {version}", found=message)
    if type(error).__name__ == "NotImplemented":
        return OperatorUnsupported(where, expected=f"kernels of ONNX Runtime {version}", found=message)
    return ModelInvalid(where, expected=f"a model that ONNX Runtime {version} loads", found=message)


def _tensor(kind: str, declared: Any) -> Tensor:
    dtype = _DTYPES.get(declared.type)
    if dtype is None:
        hint = "`lading pack` rewrites sequences and maps to tensors; other dtypes need a Cast in the model"
        where = f"{kind} `{declared.name}`"
        expected = "a tensor of " + ", ".join(_DTYPES.values())
        raise SignatureMismatch(where, expected=expected, found=f"`{declared.type}` in the model", hint=hint)
    shape = tuple("?" if size is None else size for size in declared.shape)
    return Tensor(name=declared.name, dtype=dtype, shape=shape)
