"""A run of a model for clients, as it is shown to what looks at rows. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.errors import ModelNotReady

if TYPE_CHECKING:
    from lading.server.inference.job import Job
    from lading.server.inference.version import ServedVersion
    from lading.signature import Array


@dataclass(slots=True, eq=False)
class Run:
    """What ran as one: a version, the inputs ``[rows, ...]``, and the outputs, None if the run failed.

    Requests that were merged are one run, in one array: reading that costs less than reading each of them.
    """

    served: ServedVersion
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array] | None
    rows: int

    @classmethod
    def of(cls, job: Job) -> Run:
        """Return the run of one job, which has run."""
        outcome = job.outcome
        return cls(job.served, job.inputs, outcome if type(outcome) is dict else None, job.rows)


ShowRun = Callable[[Run], None]
"""Sees a run for clients once, in the thread that ran it; returns at once and raises nothing."""


def show_jobs(show: ShowRun, jobs: list[Job], run: Run | None = None) -> None:
    """Show `jobs` that have run: as the `run` that they were, else each that a client has sent by itself."""
    if run is not None and len(jobs) > 1:
        show(run)
        return
    for job in jobs:
        outcome = job.outcome
        # One that was unloaded meanwhile runs on another version, and is shown there.
        if job.exchange is not None and outcome is not None and not isinstance(outcome, ModelNotReady):
            show(Run.of(job))
