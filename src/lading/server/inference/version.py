"""One loaded version of a model and its life, which only goes forward. Decides nothing; the manager does.

loading ─▶ warming ─▶ ready ─▶ draining ─▶ unloaded
   └─────────┴──────────┴──────────┴─▶ failed
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lading.bundle import Manifest, Samples
from lading.errors import LadingError, ModelNotReady, RunFailed, ShapeRefused
from lading.logs import fields
from lading.server.inference.loaded import LoadedModel
from lading.signature import Array, Signature

_NO_SIGNATURE = Signature(inputs=(), outputs=())

RunMarks = Any
"""Two numbers that can be read and set by index: how many runs are under way, and `CANDIDATE_MARK`."""
RUNS_MARK, CANDIDATE_MARK = 0, 1


class State(enum.IntEnum):
    """Where a version stands; a later state is never followed by an earlier one."""

    LOADING = 0
    WARMING = 1
    READY = 2
    DRAINING = 3
    UNLOADED = 4
    FAILED = 5

    @property
    def word(self) -> str:
        """The state as people and protocols read it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Replayed:
    """The replay of the golden samples by which a version was proved here."""

    rows: int
    seconds: float
    max_abs_error: float


@dataclass(eq=False)
class ServedVersion:
    """One version of a model in this process, and where it stands.

    A bundle that is served from a directory, outside a registry, has version 0. ``loaded`` is None until
    the bundle has been opened. After it has been unloaded it is kept for the answers that are still being
    written, but its runtime is closed. ``marks`` says while it runs that it does, in memory that outlives the
    process, if there is such memory; ``taken_out`` is whether it was ready and crashed.
    """

    name: str
    version: int
    digest: str
    state: State = State.LOADING
    reason: str = ""
    tags: tuple[str, ...] = ()
    marks: RunMarks = field(default_factory=lambda: [0.0, 0.0])
    taken_out: bool = field(default=False, init=False)
    failure: LadingError | None = field(default=None, init=False)
    loaded: LoadedModel | None = field(default=None, init=False)
    in_memory: bool = field(default=False, init=False)
    replayed: Replayed | None = field(default=None, init=False)
    in_flight: int = field(default=0, init=False)
    _condition: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False)

    @property
    def label(self) -> str:
        """The version as a reference: ``iris:3``, or ``iris`` when it has no number."""
        return f"{self.name}:{self.version}" if self.version else self.name

    @property
    def about(self) -> dict[str, Any]:
        """What a line of the log is about, for JSON: the ``extra`` of its call."""
        return fields(model=self.name, version=self.version)

    @property
    def key(self) -> tuple[str, int, str]:
        """What identifies the version: name, number and digest."""
        return (self.name, self.version, self.digest)

    @property
    def is_opened(self) -> bool:
        """Whether the bundle has been opened: from then on it has a signature and golden samples."""
        return self.loaded is not None

    @property
    def model(self) -> LoadedModel:
        """The loaded model; raises `ModelNotReady` until the bundle has been opened."""
        if self.loaded is None:
            raise not_ready(self)
        return self.loaded

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle; raises `ModelNotReady` until the bundle has been opened."""
        return self.model.bundle.manifest

    @property
    def samples(self) -> Samples:
        """The golden samples of the bundle; raises `ModelNotReady` until it has been opened."""
        return self.model.samples

    @property
    def signature(self) -> Signature:
        """The signature of the model; without inputs and outputs until the bundle has been opened."""
        return self.loaded.signature if self.loaded is not None else _NO_SIGNATURE

    @property
    def labels(self) -> Mapping[str, str]:
        """The names of the classes by label; empty until the bundle has been opened."""
        return self.loaded.labels if self.loaded is not None else {}

    def advance(self, state: State, reason: str = "") -> None:
        """Go forward to `state`; going back is a defect of the caller."""
        with self._condition:
            assert state > self.state, f"{self.label} cannot go from {self.state.word} to {state.word}"
            self.state, self.reason = state, reason

    def adopt(self, model: LoadedModel) -> None:
        """Answer with `model` from now on."""
        self.loaded, self.in_memory = model, True

    def fail(self, error: LadingError) -> None:
        """Abandon the version; it keeps `error` for those who ask why it is not served."""
        self.failure, self.in_memory = error, False
        self.advance(State.FAILED, str(error.message))

    def take_out(self, error: LadingError) -> None:
        """Answer no more, because of `error`: what waits for this version is resolved again."""
        model, self.taken_out = self.loaded, True
        self.fail(error)
        if model is not None:
            model.runtime.close()  # Runs in flight keep the session until they end.

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the model; raises `ModelNotReady` if it has been unloaded meanwhile, and `RunFailed`."""
        model = self.loaded
        if model is None or not self.in_memory:
            raise not_ready(self)
        for name in model.never_empty:
            if not inputs[name].size:
                raise self._refusal_of_empty(name, inputs[name])
        marks = self.marks
        # No lock: nothing is called between reading and writing, so no other thread comes in between.
        marks[RUNS_MARK] += 1
        try:
            return model.runtime.run(inputs, outputs)
        except RunFailed:
            if not self.in_memory:  # Closed between the check and the run: not the fault of the request.
                raise not_ready(self) from None
            raise
        finally:
            marks[RUNS_MARK] -= 1

    def _refusal_of_empty(self, name: str, array: Array) -> ShapeRefused:
        # Kernels of ONNX Runtime abort the process on sizes that their authors did not think of (GRU, 1.31).
        return ShapeRefused(
            f"input `{name}` of `{self.label}`",
            expected="at least one value",
            found=f"shape `{list(array.shape)}`",
            hint="if the model accepts empty inputs, include an empty sample when packing it",
        )

    def acquire(self) -> None:
        """Count one request in: a version is not unloaded while it has any in flight."""
        with self._condition:
            # One that is being unloaded is out of memory first and `UNLOADED` a moment later.
            if not self.in_memory or self.state not in (State.READY, State.DRAINING):
                raise not_ready(self)
            self.in_flight += 1

    def release(self) -> None:
        """Count one request out."""
        with self._condition:
            self.in_flight -= 1
            if self.in_flight == 0:
                self._condition.notify_all()

    def unload(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight, then free the memory; return whether that happened in time.

        Two threads may unload one version, and an unloaded version stays unloaded.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: self.in_flight == 0, timeout_s):
                return False
            model, self.in_memory = self.loaded if self.in_memory else None, False
        if model is not None:
            model.runtime.close()
        with self._condition:
            if self.state < State.UNLOADED:  # Else another thread was quicker, or it was taken out.
                self.advance(State.UNLOADED)
        return True


def not_ready(served: ServedVersion) -> ModelNotReady:
    """Say why `served` does not answer."""
    reason = f": {served.reason}" if served.reason else ""
    return ModelNotReady(
        f"model `{served.label}`", expected="`ready`", found=f"`{served.state.word}`{reason}"
    )
