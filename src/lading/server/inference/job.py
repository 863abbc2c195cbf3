"""One accepted prediction: the request, the outcome, and how it ran. Knows no protocol and runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lading.errors import LadingError
from lading.server.inference.inline_runs import RowSize
from lading.server.inference.run import Run
from lading.server.inference.version import ServedVersion
from lading.signature import Array

Outputs = dict[str, Array]


@dataclass(slots=True, eq=False)
class BatchRecord:
    """The batch that a job was part of: how many rows ran as one, and how long the job waited for it.

    ``leads_run`` is true for one job of a batch that was not queued: it stands for the run where runs are
    counted. ``queued_s`` is None if the job was not queued, ``run`` if the job ran alone.
    """

    rows: int
    leads_run: bool = False
    queued_s: float | None = None
    run: Run | None = None


@dataclass(eq=False)
class Job:
    """One accepted prediction: a version, checked inputs, and how its outputs become an answer.

    ``outputs`` names the outputs to compute, all if it is None. ``encode`` runs in the thread that answers
    the client. ``exchange`` is the request that the job belongs to, ``deadline`` is on the monotonic clock, 0
    for none. ``on_cancel`` is called when the job is cancelled while it waits. ``holds_version`` is whether
    the version counts the job as in flight. ``group`` is the group of the caller, -1 if it is not known.
    ``outcome`` is None until the job has run, and stays so if it is cancelled first. ``run_s`` is how long
    its run took; ``batch`` is None if it ran alone and was not queued; ``first_row`` is where its rows begin
    in the batch. ``row_size`` is None until it was
    looked at, and where every row has one size.
    """

    served: ServedVersion
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] | None
    encode: Callable[[Outputs], Any]
    rows: int = 1
    # Defaults on the class: what a job does not need costs it nothing.
    exchange: Any = field(default=None, init=False)
    deadline: float = field(default=0.0, init=False)
    queued_at: float = field(default=0.0, init=False)
    on_cancel: Callable[[Job], None] | None = field(default=None, init=False)
    cancelled: bool = field(default=False, init=False)
    holds_version: bool = field(default=False, init=False)
    group: int = field(default=-1, init=False)
    outcome: Outputs | LadingError | None = field(default=None, init=False)
    run_s: float = field(default=0.0, init=False)
    batch: BatchRecord | None = field(default=None, init=False)
    first_row: int = field(default=0, init=False)
    row_size: RowSize | None = field(default=None, init=False)

    @property
    def result(self) -> Outputs | None:
        """The outputs, or None if there are none: not yet, or not at all."""
        outcome = self.outcome
        return None if isinstance(outcome, LadingError) else outcome

    @property
    def error(self) -> LadingError | None:
        """What refused or failed the job, or None."""
        outcome = self.outcome
        return outcome if isinstance(outcome, LadingError) else None

    def cancel(self) -> None:
        """Abandon the job because nobody waits for it any more; a queue that holds it stops counting it."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel(self)

    def is_overdue(self, now: float) -> bool:
        """Return whether the deadline has passed at `now`, on the monotonic clock."""
        return 0.0 < self.deadline < now


Deliver = Callable[[list[Job]], None]
"""Returns finished jobs to where their clients wait; called in the thread that ran them."""
