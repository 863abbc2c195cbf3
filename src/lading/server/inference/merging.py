"""Jobs that run as one: which of them fit together, how their rows are merged, and how the outputs are split.

Runs in whatever thread calls it; queues nothing (`batcher`) and waits for nobody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import numpy as np

from lading.errors import LadingError, ModelNotReady, RunFailed
from lading.server.inference.job import BatchRecord, Job
from lading.server.inference.run import Run, ShowRun
from lading.server.inference.version import ServedVersion
from lading.signature import Array

log = logging.getLogger("lading.server")


def run_jobs(served: ServedVersion, jobs: list[Job]) -> Run | None:
    """Run `jobs` as one and set each job's outcome; return that run, or None if they did not run as one.

    If that fails, each runs alone, so that one bad request never fails its neighbours.
    """
    if len(jobs) == 1:
        run_one(served, jobs[0])
        return run_of(jobs[0])
    try:
        inputs = _merged_inputs(jobs)
        outputs = served.run(inputs, _merged_names(jobs))
        rows = _split_outputs(served, jobs, outputs)
    except (LadingError, ValueError):
        # numpy raises ValueError if the inputs cannot be concatenated, or the outputs cannot be sliced.
        for job in jobs:
            # Nobody waits any more for what was ended because it took too long.
            if job.is_overdue(time.monotonic()):
                job.outcome = job.outcome or RunFailed("the run of this request", found="no end in time")
            else:
                run_one(served, job)
        return None
    return Run(served, inputs, outputs, rows)


def run_one(served: ServedVersion, job: Job) -> None:
    """Run one job alone; a failure becomes the job's outcome."""
    try:
        job.outcome = served.run(job.inputs, job.outputs)
    except LadingError as error:
        job.outcome = error


def run_unqueued(served: ServedVersion, jobs: list[Job], show: ShowRun | None = None) -> None:
    """Run `jobs` of clients, which were never queued, as one; record how long that took, and show it."""
    # They are not counted as in flight: the thread that runs them holds the session itself.
    began = time.perf_counter()
    run = run_jobs(served, jobs)
    took_s = time.perf_counter() - began
    if len(jobs) == 1:
        jobs[0].run_s = took_s
    elif run is not None:
        batch = BatchRecord(run.rows, run=run)
        for job in jobs:
            job.run_s, job.batch = took_s, batch
        jobs[0].batch = BatchRecord(run.rows, leads_run=True, run=run)
    else:
        for job in jobs:
            job.run_s = took_s / len(jobs)
    if show is not None:
        for each in runs_of(jobs, run):
            show(each)


def run_of(job: Job) -> Run:
    """Return the run of one job, which has run."""
    outcome = job.outcome
    return Run(job.served, job.inputs, outcome if type(outcome) is dict else None, job.rows)


def runs_of(jobs: list[Job], run: Run | None = None) -> list[Run]:
    """Return the runs for clients of `jobs` that have run: the `run` that they were, else each by itself."""
    if run is not None and len(jobs) > 1:
        return [run]
    return [
        run_of(job)
        for job in jobs
        # One that was unloaded meanwhile runs on another version, and is seen there.
        if job.exchange is not None and job.outcome is not None and not isinstance(job.outcome, ModelNotReady)
    ]


def again_as_one(jobs: list[Job]) -> Job:
    """Return a job that runs again what `jobs` ran as one, or the first of them if each ran alone."""
    first = jobs[0]
    if first.batch is None:
        return Job(first.served, first.inputs, first.outputs, first.encode, first.rows)
    rows = sum(job.rows for job in jobs)
    return Job(first.served, _merged_inputs(jobs), _merged_names(jobs), first.encode, rows)


def fail_unfinished(jobs: list[Job]) -> None:
    """Fail those of `jobs` that have no outcome; called where an unforeseen exception is handled."""
    log.exception("%d requests for %s failed", len(jobs), jobs[0].served.label, extra=jobs[0].served.about)  # noqa: LOG004 - in handlers only
    for job in jobs:
        if job.outcome is None:
            job.outcome = RunFailed("internal error", hint="the server's log has it")


def grouped(served: ServedVersion, jobs: list[Job], most_rows: int) -> Iterator[list[Job]]:
    """Divide jobs of one version into groups that can run as one, each of at most `most_rows` rows.

    A job that has more rows by itself is a group of its own.
    """
    if not served.signature.batched or most_rows <= 1:
        yield from ([job] for job in jobs)
        return
    if served.signature.fixed_rows and sum(job.rows for job in jobs) <= most_rows:
        yield jobs  # The usual case: every row has the only shape that the signature allows.
        return
    groups: list[list[Job]] = []
    sizes: list[int] = []  # rows of each group
    for job in jobs:
        for index, group in enumerate(groups):
            if sizes[index] + job.rows <= most_rows and are_compatible(group[0], job):
                group.append(job)
                sizes[index] += job.rows
                break
        else:
            groups.append([job])
            sizes.append(job.rows)
    yield from groups


def are_compatible(job: Job, other: Job) -> bool:
    """Return whether the arrays of both jobs have the same size in every dimension but the batch."""
    inputs = other.inputs
    for name, array in job.inputs.items():
        # Every request passes here, mostly with equal shapes: comparing them whole is cheaper than slicing.
        shape, other_shape = array.shape, inputs[name].shape
        if shape != other_shape and shape[1:] != other_shape[1:]:
            return False
    return True


def _merged_inputs(jobs: list[Job]) -> dict[str, Array]:
    names = jobs[0].inputs
    return {name: np.concatenate([job.inputs[name] for job in jobs]) for name in names}  # [rows of all, ...]


def _merged_names(jobs: list[Job]) -> tuple[str, ...] | None:
    """Return every output that one of `jobs` asks for, or None if one asks for all."""
    first = jobs[0].outputs
    if all(job.outputs == first for job in jobs):
        return first
    names: dict[str, None] = {}  # An ordered set.
    for job in jobs:
        if job.outputs is None:
            return None
        names.update(dict.fromkeys(job.outputs))
    return tuple(names)


def _split_outputs(served: ServedVersion, jobs: list[Job], outputs: dict[str, Array]) -> int:
    """Set each job's outcome; return how many rows all have together."""
    rows = sum(job.rows for job in jobs)
    for name, array in outputs.items():
        # A model may sum over its batch, whatever its signature promises: then nobody's rows are in there.
        if array.shape[:1] != (rows,):
            raise RunFailed(
                f"output `{name}` of `{served.label}`", expected=f"{rows} rows", found=f"{array.shape}"
            )
    start = 0
    for job in jobs:
        names = outputs if job.outputs is None else job.outputs
        job.outcome = {name: outputs[name][start : start + job.rows] for name in names}
        job.first_row = start
        start += job.rows
    return rows
