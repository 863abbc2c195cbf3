"""One accepted prediction on its way through the server. Knows no protocol and runs nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lading.errors import LadingError
from lading.server.inference.version import ServedVersion
from lading.signature import Array


@dataclass(eq=False)
class Job:
    """One accepted prediction: a version, checked inputs, and how its outputs become an answer.

    ``outputs`` names the outputs to compute, all where it is None. ``encode`` runs in the thread that
    answers the client. ``deadline`` is on the monotonic clock, 0 for none. ``request`` is the host's own.
    What has a default and no place in the constructor costs nothing until it is set.
    ``run_s`` and ``merged_rows`` tell, once it has run, how long and with how many rows altogether;
    ``merged_rows`` is 0 where it did not go through the queue, ``queued_s`` is how long it was there. Of jobs
    that ran ``together`` without a queue, one has their rows altogether and the others -1. ``leave`` is how a
    job that waits tells its queue that it is cancelled.
    """

    served: ServedVersion
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] | None
    encode: Callable[[dict[str, Array]], Any]
    rows: int = 1
    deadline: float = field(default=0.0, init=False)
    cancelled: bool = field(default=False, init=False)
    result: dict[str, Array] | None = field(default=None, init=False)
    error: LadingError | None = field(default=None, init=False)
    request: Any = field(default=None, init=False)
    run_s: float = field(default=0.0, init=False)
    merged_rows: int = field(default=0, init=False)
    together: int = field(default=0, init=False)
    queued_at: float = field(default=0.0, init=False)
    queued_s: float = field(default=0.0, init=False)
    taken: bool = field(default=False, init=False)
    leave: Callable[[Job], None] | None = field(default=None, init=False)

    def cancel(self) -> None:
        """Give up, because nobody waits for it any more: a queue that has it counts it no longer."""
        self.cancelled = True
        if self.leave is not None:
            self.leave(self)

    def overdue(self, now: float) -> bool:
        """Return whether the deadline has passed at `now`, on the monotonic clock."""
        return 0.0 < self.deadline < now


def request_ids() -> Iterator[bytes]:
    """Count request ids up from a random beginning: unique across processes, cheap, and safe in threads."""
    prefix = os.urandom(8).hex().encode() + b"-%x"
    return map(prefix.__mod__, itertools.count())


Deliver = Callable[[list[Job]], None]
"""Takes finished jobs back to where their clients wait; called in whatever thread ran them."""
