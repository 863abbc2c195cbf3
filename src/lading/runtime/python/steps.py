"""A bundle's own steps around an ONNX model: the steps in model processes, the model in this one.

What `preprocess` answers is held against the inputs of the ONNX model before that runs. Merges no rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from lading.errors import InputError
from lading.runtime import Runtime
from lading.runtime.python.session import PythonRuntime
from lading.signature import BATCH, USUAL_BOUND, Array, Signature, Tensor

Ask = Callable[[Sequence[str], Mapping[str, Array], Sequence[str] | None], dict[str, Array]]
"""Passes arrays through steps of the code; returns the outputs with these names, all if None."""

RunCore = Callable[[Mapping[str, Array], Sequence[str] | None], dict[str, Array]]
"""Runs the ONNX model; returns the outputs with these names, all if None."""


def core_inputs(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return inputs of an ONNX model as `preprocess` has to answer them: with as many rows as the request.

    No value is NaN, infinite or beyond 1e30: for others the model was not proved.
    """

    def limited(tensor: Tensor) -> Tensor:
        has_rows = bool(tensor.shape) and isinstance(tensor.shape[0], str)
        return Tensor(
            name=tensor.name,
            dtype=tensor.dtype,
            shape=(BATCH, *tensor.shape[1:]) if has_rows else tensor.shape,
            bound=USUAL_BOUND if tensor.dtype.startswith("float") else math.inf,
        )

    return tuple(map(limited, tensors))


def run_around(
    core: RunCore,
    takes: Sequence[Tensor],
    ask: Ask,
    steps: Sequence[str],
    inputs: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
) -> dict[str, Array]:
    """Pass `inputs` through `preprocess`, an ONNX model that `takes` these, and `postprocess`.

    Steps that are not among `steps` are left out. Raises what `ask` and `core` raise, and the `InputError` of
    a value that the ONNX model does not take.
    """
    values = inputs
    if "preprocess" in steps:
        values = _checked(takes, ask(("preprocess",), inputs, None))
    if "postprocess" not in steps:
        return core(values, outputs)
    return ask(("postprocess",), core(values, None), outputs)


def _checked(takes: Sequence[Tensor], values: dict[str, Array]) -> dict[str, Array]:
    try:
        return Signature(tuple(takes), ()).cast(values)
    except InputError as error:
        # The caller sent other inputs than these.
        raise type(error)(
            f"what `preprocess` makes of this request, {error.where}",
            expected=error.expected,
            found=error.found,
            hint=error.hint,
        ) from None


class SteppedRuntime:
    """Steps in Python around an ONNX model that runs in this process; satisfies `lading.runtime.Runtime`."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __init__(self, python: PythonRuntime, core: Runtime, whole: Signature) -> None:
        """Join what runs the steps, and the model between them; both are closed with this.

        `whole` is what callers send and get where a step answers for it.
        """
        self.python, self.core = python, core
        self.steps = python.settings.steps
        self.inputs = whole.inputs if "preprocess" in self.steps else core.inputs
        self.outputs = whole.outputs if "postprocess" in self.steps else core.outputs
        # Not from the manifest, which has no signature for the middle.
        self._takes = core_inputs(core.inputs)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Compute `outputs` (all if None) of arrays that were cast already.

        Raises what `PythonRuntime.run` and `OnnxRuntime.run` raise.
        """
        return self._run(self.core.run, inputs, outputs)

    def run_whole(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs; the ONNX model gets all rows at once."""
        return self._run(lambda values, _: self.core.run_whole(values), inputs, None)

    def terminate(self) -> None:
        """End the runs in flight, in the processes and in this one: they raise `RunFailed`."""
        # A run is in one of the two, and which one is not known.
        self.python.terminate()
        self.core.terminate()

    def close(self) -> None:
        """End the processes and release the model. Twice is no error."""
        try:
            self.python.close()
        finally:
            self.core.close()

    def _run(
        self, core: RunCore, inputs: Mapping[str, Array], outputs: Sequence[str] | None
    ) -> dict[str, Array]:
        return run_around(core, self._takes, self.python.run_steps, self.steps, inputs, outputs)


def python_of(runtime: Runtime) -> PythonRuntime | None:
    """Return what runs a model's own code, all of it or its steps; None if it has none."""
    if isinstance(runtime, SteppedRuntime):
        return runtime.python
    return runtime if isinstance(runtime, PythonRuntime) else None
