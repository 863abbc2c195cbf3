"""A model's own code as a runtime, in processes of its own.

Merges no rows and divides none, builds no environment, and imports none of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from lading.errors import RunFailed
from lading.runtime.python.process import EndReason, ProcessSettings
from lading.runtime.python.process_pool import ProcessPool, Restarts
from lading.signature import Array, Tensor


class PythonRuntime:
    """A model's own code in a number of processes; satisfies `lading.runtime.Runtime`.

    Each process runs one request at a time. A request that ends its process fails, and is not tried again
    here: the neighbours that it was merged with are, by what has merged them.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __init__(
        self,
        settings: ProcessSettings,
        *,
        processes: int = 1,
        run_deadline_s: float = 60.0,
        load_deadline_s: float = 300.0,
        restarts: Restarts | None = None,
        starting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Start the processes, and return once all have loaded the model.

        Each process is started and loads within `starting`, also one that replaces another. Raises what that
        raises, `ModelInvalid`, `ModelCodeFailed`, `ModelProcessEnded`, `DeadlineExceeded`, `NotSupported`.
        """
        self.settings = settings
        self.inputs, self.outputs = settings.inputs, settings.outputs
        self._run_deadline_s = run_deadline_s
        self._pool = ProcessPool(
            settings, max(1, processes), load_deadline_s, restarts or Restarts(), starting
        )

    @property
    def ended_processes(self) -> int:
        """How many processes have ended and were replaced."""
        return self._pool.ended

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes that run the model now."""
        return self._pool.pids()

    @property
    def busy_processes(self) -> int:
        """How many processes run a request."""
        return len(self._pool.running())

    def report_ends(self, report: Callable[[EndReason], object]) -> None:
        """Call `report` with the reason of each process that has ended or ends, from any thread."""
        self._pool.report_ends(report)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Compute `outputs` (all if None) of arrays that were cast already, however many rows they have.

        Raises `ModelCodeFailed`, `ModelOutputInvalid`, `ModelProcessEnded`, `DeadlineExceeded`, `RunFailed`.
        """
        return self.run_steps(self.settings.steps, inputs, outputs)

    def run_whole(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs, as `run` does."""
        return self.run_steps(self.settings.steps, inputs)

    def run_steps(
        self, steps: Sequence[str], inputs: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Pass `inputs` through `steps` only, such as those before an ONNX model; raises as `run` does."""
        process = self._pool.take(self._run_deadline_s)
        try:
            return process.run(inputs, self._run_deadline_s, steps=steps, outputs=outputs)
        finally:
            self._pool.give(process)

    def terminate(self) -> None:
        """End the runs in flight, with `RunFailed`: their processes are ended, and others started."""
        where, ending = "the run of this request", "none, so it was ended"
        for process in self._pool.running():
            process.kill(RunFailed(where, expected="an end in time", found=ending))

    def close(self) -> None:
        """End the processes; those that run finish first, and are not waited for. Twice is no error."""
        self._pool.close()
