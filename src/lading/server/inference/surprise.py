"""A run that stayed in the thread of its caller and took surprisingly long: the model or the machine.

It is run again in a queue, where only the queue waits for it. The machine, which does other things as well,
seldom takes the time twice; the model always does.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass

from lading.errors import LadingError
from lading.server.inference.inline_runs import SURPRISE_S, InlineRuns, RowSize
from lading.server.inference.job import Job
from lading.server.inference.merging import again_as_one

log = logging.getLogger("lading.server")

_PATIENCE_S = 0.05


@dataclass(slots=True)
class Surprise:
    """What has to be run again, as one ``job``. It took ``took_s``; ``rows`` rows were known to be short."""

    job: Job
    took_s: float
    runs: InlineRuns
    size: RowSize
    rows: int

    @classmethod
    def of(cls, jobs: list[Job]) -> Surprise | None:
        """Doubt the size of `jobs`, which ran as one; None if it is in doubt already."""
        runs = jobs[0].served.model.inline_runs
        size = runs.size_of(jobs[0].inputs, jobs[0].rows)
        rows = runs.doubt(size)
        return cls(again_as_one(jobs), jobs[0].run_s, runs, size, rows) if rows is not None else None

    def settle(self) -> None:
        """Decide, once the job has come back from the queue, and in its thread: run it again if need be."""
        job = self.job
        if not job.run_s:  # It has not run: its time was over before.
            self.forget()
            return
        again_s = self._fastest_s()
        if again_s < SURPRISE_S / 2:
            self.runs.settle(self.size, self.rows)
            return
        most = job.rows // 2
        self.runs.settle(self.size, min(self.rows, most), most)
        log.warning(
            "%s: a run of %d rows took %.1f ms, and again %.1f ms; runs of that size are queued from now on",
            job.served.label,
            job.rows,
            self.took_s * 1e3,
            again_s * 1e3,
        )

    def forget(self) -> None:
        """Know nothing of this size: queued runs will show again what it takes."""
        self.runs.settle(self.size, 0)

    def _fastest_s(self) -> float:
        """Return the least seconds that the run takes in a few tries."""
        job, fastest = self.job, self.job.run_s
        until = time.perf_counter() + _PATIENCE_S - fastest
        while fastest >= SURPRISE_S / 2 and time.perf_counter() < until:
            began = time.perf_counter()
            with contextlib.suppress(LadingError):  # How long it takes counts, and not its outcome.
                job.served.run(job.inputs, job.outputs)
            fastest = min(fastest, time.perf_counter() - began)
        return fastest
