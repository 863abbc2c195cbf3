"""The contract of a runtime: one loaded model that can be run. `open` chooses the runtime of a bundle.

A runtime checks no digest and replays no samples (`bundle` and `verify` do); it merges no requests (the
server does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lading.signature import Array, Tensor

__all__ = ["Runtime"]


class Runtime(Protocol):
    """A model that is loaded and may be run from several threads concurrently.

    ``inputs`` and ``outputs`` are as the model itself declares them, in its order. A size that the model
    leaves open without naming it is called ``?``.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Compute `outputs` (all if None) of arrays that `Signature.cast` accepted.

        Where rows are independent, many may run in chunks, so that memory does not grow with their number.

        Dtypes come out exactly as declared, strings as object arrays of ``str``. Raises a `RunError`,
        `ValueRefused` if the model does not know a value of the caller, and, if it runs in a process of its
        own, `ModelProcessEnded` and `DeadlineExceeded`.
        """
        ...

    def run_whole(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs as `run` does, but never in chunks: for checks of what rows do together."""
        ...

    def terminate(self) -> None:
        """End the runs in flight as soon as that is possible: they raise `RunFailed`."""
        ...

    def close(self) -> None:
        """Release the model's memory; runs in flight finish first. Closing twice is no error."""
        ...
