"""One loaded version of a model and its life, which only goes forward. Decides nothing; the manager does.

loading ─▶ warming ─▶ ready ─▶ draining ─▶ unloaded
   └─────────┴─▶ failed
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lading.bundle import Bundle, Manifest, Samples
from lading.errors import LadingError, ModelNotReady, RunFailed
from lading.runtime import Runtime
from lading.signature import Array, Signature


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
class Cost:
    """What one run takes, measured at warm-up: seconds for one row, and for each further row.

    ``row_values`` is how many values a row had that was measured, 0 where every row has as many.
    """

    first_row_s: float
    further_row_s: float
    row_values: int = 0

    def of(self, rows: int) -> float:
        """Estimate the seconds that a run of `rows` rows takes."""
        return self.first_row_s + self.further_row_s * (rows - 1)


@dataclass(eq=False)
class ServedVersion:
    """One version of a model in this process.

    ``name``, ``version`` and ``digest`` are known from the start; everything else once it has loaded.
    A bundle that was served from a directory, outside a registry, has version 0. ``plans`` is where
    protocols keep what they prepare once for a version.
    """

    name: str
    version: int
    digest: str
    state: State = State.LOADING
    reason: str = ""
    failure: LadingError | None = None
    bundle: Bundle | None = None
    tags: tuple[str, ...] = ()
    cost: Cost = Cost(0.0, 0.0)
    # What requests read; set once, before the version is ready.
    signature: Signature = field(default_factory=lambda: Signature(inputs=(), outputs=()))
    labels: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    header_block: bytes = b""
    metadata: tuple[tuple[str, str], ...] = ()
    plans: dict[Any, Any] = field(default_factory=dict)
    _samples: Samples | None = None
    _runtime: Runtime | None = None
    _in_hand: int = 0
    _condition: threading.Condition = field(default_factory=threading.Condition, repr=False)

    @property
    def label(self) -> str:
        """The version as a reference: ``iris:3``, or ``iris`` when it has no number."""
        return f"{self.name}:{self.version}" if self.version else self.name

    @property
    def manifest(self) -> Manifest:
        """The manifest of the bundle; only a version that has been opened has one."""
        if self.bundle is None:
            raise not_ready(self)
        return self.bundle.manifest

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells one version from another."""
        return (self.name, self.version, self.digest)

    @property
    def in_flight(self) -> int:
        """How many requests wait for the model or run in a thread of its own."""
        return self._in_hand

    @property
    def in_memory(self) -> bool:
        """Whether the model is still loaded."""
        return self._runtime is not None

    @property
    def is_opened(self) -> bool:
        """Whether its bundle has been taken: from then on signature and golden samples are there."""
        return self._samples is not None

    @property
    def samples(self) -> Samples:
        """The golden samples of the bundle."""
        if self._samples is None:
            raise not_ready(self)
        return self._samples

    def advance(self, state: State, reason: str = "") -> None:
        """Go forward to `state`; going back is a defect of the caller."""
        with self._condition:
            assert state > self.state, f"{self.label} cannot go from {self.state.word} to {state.word}"
            self.state, self.reason = state, reason

    def fail(self, error: LadingError) -> None:
        """Return the version up, keeping the error for those who ask why, and no model."""
        self.failure, self._runtime = error, None
        self.advance(State.FAILED, str(error.message))

    def adopt(self, bundle: Bundle, runtime: Runtime) -> None:
        """Take the opened bundle and its runtime."""
        self.bundle, self._runtime = bundle, runtime
        self.signature, self.labels = bundle.manifest.signature, bundle.manifest.labels
        self._samples = bundle.samples()
        self.headers = (
            (b"x-lading-model", self.label.encode()),
            (b"x-lading-digest", self.digest.encode()),
        )
        self.metadata = tuple((name.decode(), value.decode()) for name, value in self.headers)
        self.header_block = b"".join(b"%b: %b\r\n" % header for header in self.headers)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the model; raises `ModelNotReady` where it has been unloaded meanwhile, and `RunFailed`."""
        runtime = self._runtime
        if runtime is None:
            raise not_ready(self)
        try:
            return runtime.run(inputs, outputs)
        except RunFailed:
            if self._runtime is None:  # Closed between the two.
                raise not_ready(self) from None
            raise

    def take(self) -> None:
        """Count one request in; a version is not unloaded while it has any in hand."""
        with self._condition:
            # Without a runtime it is being unloaded, and says so in a moment.
            if self._runtime is None or self.state not in (State.READY, State.DRAINING):
                raise not_ready(self)
            self._in_hand += 1

    def release(self) -> None:
        """Count one request out."""
        with self._condition:
            self._in_hand -= 1
            if self._in_hand == 0:
                self._condition.notify_all()

    def unload(self, timeout_s: float) -> bool:
        """Wait until nothing is in hand, then give the memory back; return whether it came to that.

        Two threads may do so at once, and once it is done it stays done.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: self._in_hand == 0, timeout_s):
                return False
            runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()
        with self._condition:
            if self.state is not State.UNLOADED:
                self.advance(State.UNLOADED)
        return True


def not_ready(served: ServedVersion) -> ModelNotReady:
    """Say why `served` does not answer."""
    reason = f": {served.reason}" if served.reason else ""
    return ModelNotReady(
        f"model `{served.label}`", expected="`ready`", found=f"`{served.state.word}`{reason}"
    )
