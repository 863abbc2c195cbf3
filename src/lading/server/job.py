"""One accepted prediction on its way through the server. Knows no protocol and runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lading.errors import LadingError
from lading.server.states import Served
from lading.signature import Array


@dataclass(slots=True, eq=False)
class Job:
    """One accepted prediction: a version, checked inputs, and how its outputs become an answer.

    ``outputs`` names the outputs to compute, all where it is None. ``encode`` runs in the thread that
    answers the client. ``deadline`` is on the monotonic clock, 0 for none. ``request`` is the host's own.
    ``run_s`` and ``merged_rows`` tell, once it has run, how long and with how many rows altogether.
    """

    served: Served
    inputs: Mapping[str, Array]
    outputs: Sequence[str] | None
    encode: Callable[[dict[str, Array]], Any]
    rows: int = 1
    deadline: float = 0.0
    cancelled: bool = False
    result: dict[str, Array] | None = None
    error: LadingError | None = None
    request: Any = None
    run_s: float = 0.0
    merged_rows: int = 0

    def overdue(self, now: float) -> bool:
        """Tell whether the deadline has passed at `now`, on the monotonic clock."""
        return 0.0 < self.deadline < now


Deliver = Callable[[list[Job]], None]
"""Takes finished jobs back to where their clients wait; called in whatever thread ran them."""
