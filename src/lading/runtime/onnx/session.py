"""A model in ONNX Runtime on the CPU.

Sends and writes no telemetry, logs nothing of its own, and lets no C++ message through as it came.
Does not merge requests and does not know labels or tolerances.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from lading.errors import (
    LadingError,
    ModelInvalid,
    OperatorUnsupported,
    RunFailed,
    SignatureMismatch,
    ValueRefused,
    missing_extra,
)
from lading.runtime.host.allocator import trim_heap
from lading.runtime.onnx.bindings import Slots
from lading.runtime.onnx.error_text import sentence
from lading.runtime.onnx.opsets import model_versions, supported_opset, unsupported
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
_PROVIDERS = ("CPUExecutionProvider",)
_FATAL = 4

WEIGHTS_FILE = "weights.bin"
"""Has the weights of a model that was saved, as they are and as kernels have packed them."""

ALIGNED_ABOVE_BYTES = 2**20
"""ONNX Runtime begins what is larger on a page of that file. Kernels crash on what lies anyhow."""

_SAVING = {
    "optimized_model_external_initializers_file_name": WEIGHTS_FILE,
    "optimized_model_external_initializers_min_size_in_bytes": str(ALIGNED_ABOVE_BYTES + 1),
    "save_external_prepacked_constant_initializers": "1",
}


@cache
def import_onnxruntime() -> Any:
    """Import ONNX Runtime with its telemetry off and its log silent; raises `ExtraMissing`.

    Since 1.30 it writes a device id below ``~/.cache/Microsoft`` and calls home unless the variable is set
    before the import; ``disable_telemetry_events()`` afterwards comes too late (`tests/test_telemetry.py`).
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("ONNX Runtime", "serve", error) from None
    # What it would log as an error it also raises, and that becomes an error of ours.
    onnxruntime.set_default_logger_severity(_FATAL)
    return onnxruntime


class OnnxRuntime:
    """One ONNX Runtime session; satisfies `lading.runtime.Runtime`.

    Runs of few rows go through bound buffers (`slots`). `session` is the open session.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __init__(
        self, path: Path, *, threads: int = 1, save_to: Path | None = None, optimized: bool = False
    ) -> None:
        """Open the model at `path`; external data is looked up beside it.

        `save_to` is where the model is written as ONNX Runtime runs it, its weights in `WEIGHTS_FILE` beside
        it; such a file is `optimized`. Raises `ModelInvalid`, `OperatorUnsupported`, `SignatureMismatch`.
        """
        self.path = path
        self.threads = max(1, threads)
        session = _open_session(path, self.threads, save_to, optimized=optimized)
        self.inputs = tuple(_tensor("input", one) for one in session.get_inputs())
        self.outputs = tuple(_tensor("output", one) for one in session.get_outputs())
        self._names = tuple(tensor.name for tensor in self.outputs)
        self._failures = _failures()
        self.session: Any = session
        self._slots: Any = Slots(session, self.inputs, self.outputs, self._failures)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Compute `outputs` (all where None) of arrays cast already; raises `RunFailed`."""
        session, slots = self.session, self._slots
        if session is None or slots is None:
            raise RunFailed(f"model `{self.path.name}`", expected="to be open", found="it closed")
        if outputs is None:
            outputs = self._names
        try:
            bound: dict[str, Array] | None = slots.run(inputs, outputs)
            if bound is not None:
                return bound
            # The public `run` checks the names once more in Python: 1.3 µs of 6.5 for a small model.
            values = session._sess.run(list(outputs), inputs, None)  # noqa: SLF001
        except self._failures as error:
            raise _run_failure(sentence(error)) from None
        results = dict(zip(outputs, values, strict=True))
        slots.learn(inputs, outputs, results)
        return results

    def close(self) -> None:
        """Release the model's memory, and give the freed heap back to the system."""
        if self.session is not None:
            self.session = self._slots = None
            trim_heap()


def _run_failure(said: str) -> LadingError:
    """Say why a run failed: a category that the model does not know is the caller's value, not our defect."""
    if "Unknown Category" in said:
        hint = 'a `OneHotEncoder(handle_unknown="ignore")` in training takes any'
        expected = "categories that it was trained with"
        return ValueRefused("a value of this request", expected=expected, found="another", hint=hint)
    return RunFailed("the model failed on this input", found=said)


def _open_session(path: Path, threads: int, save_to: Path | None, *, optimized: bool) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning pool burns 40 ms of CPU after each run, which the server's own thread is waiting for.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL
    if optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save_to is not None:
        options.optimized_model_filepath = os.fspath(save_to)
        for name, value in _SAVING.items():
            options.add_session_config_entry(f"session.{name}", value)
    try:
        # By path and not as bytes: external data is found, and a second copy in memory is not made.
        return ort.InferenceSession(os.fspath(path), options, providers=list(_PROVIDERS))
    except _failures() as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> LadingError:
    """Say why ONNX Runtime did not open the model: too new, an unknown operator, or broken."""
    if not path.is_file():
        return ModelInvalid(f"model `{path.name}`", expected="a file", found="none")
    newer = unsupported(path.name, model_versions(path), probe)
    if newer is not None:
        return newer
    found = sentence(error)
    where = f"model `{path.name}`"
    version = import_onnxruntime().__version__
    if "No Op registered for" in found or "is not a registered function/op" in found:
        return OperatorUnsupported(where, expected=f"operators of ONNX Runtime {version}", found=found)
    if type(error).__name__ == "NotImplemented":
        return OperatorUnsupported(where, expected=f"kernels of ONNX Runtime {version}", found=found)
    return ModelInvalid(where, expected=f"a model that ONNX Runtime {version} loads", found=found)


def probe(model: bytes) -> str:
    """Return ONNX Runtime's complaint about the bytes of a model; empty where it has none."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    try:
        ort.InferenceSession(model, options, providers=list(_PROVIDERS))
    except _failures() as error:
        return str(error)
    return ""


def check_versions(path: Path) -> str:
    """Say which IR and opsets the model has and which are read here.

    Raises `OperatorUnsupported`, `ModelInvalid`.
    """
    versions = model_versions(path)
    error = unsupported(path.name, versions, probe)
    if error is not None:
        raise error
    limits = (f"{domain} ≤ {supported_opset(domain, probe) or 'any'}" for domain in versions.opsets)
    return f"{versions}; ONNX Runtime {import_onnxruntime().__version__} reads {', '.join(limits)}"


@cache
def _failures() -> tuple[type[Exception], ...]:
    """List what a session raises: ONNX Runtime's own errors share no base below `Exception`."""
    import_onnxruntime()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError, TypeError, MemoryError)


def _tensor(kind: str, declared: Any) -> Tensor:
    dtype = _DTYPES.get(declared.type)
    if dtype is None:
        hint = "`lading pack` rewrites sequences and maps to tensors; other dtypes need a Cast in the model"
        where = f"{kind} `{declared.name}`"
        expected = "a tensor of " + ", ".join(_DTYPES.values())
        raise SignatureMismatch(where, expected=expected, found=f"`{declared.type}` in the model", hint=hint)
    shape = tuple("?" if size is None else size for size in declared.shape)
    return Tensor(name=declared.name, dtype=dtype, shape=shape)
