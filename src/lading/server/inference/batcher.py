"""Dynamic batching for one loaded version: what waits while the model is busy runs as one.

Work-conserving: an idle model runs what comes at once, and no timer ever holds a request back unless
``max_queue_delay_ms`` asks for it. The limit on merged rows follows the latency target by additive
increase and multiplicative decrease (Crankshaw et al., Clipper, NSDI 2017, section 4.3).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lading.errors import DeadlineExceeded, LadingError, QueueFull, RunFailed
from lading.server.inference.job import BatchRecord, Deliver, Job
from lading.server.inference.version import ServedVersion
from lading.signature import Array

log = logging.getLogger("lading.server")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much may wait and how much may run as one. Times in seconds, sizes in rows."""

    max_queue: int = 1024
    max_rows: int = 1024
    latency_target_s: float = 0.05
    max_delay_s: float = 0.0


@dataclass(slots=True)
class RowLimit:
    """The rows that may run as one: one step up when a full run met the target, down a quarter when not.

    A run of less than half of them tells nothing of how many are too many: one row alone may meet a moment
    at which the machine stood still.
    """

    most: int
    target_s: float
    rows: int = 32
    step: int = 8

    def observe(self, rows: int, took_s: float) -> None:
        """Learn from one run of `rows` rows."""
        if took_s > self.target_s:
            if 2 * rows >= self.rows:
                self.rows = max(1, min(self.rows, rows) * 3 // 4)
        elif rows >= self.rows:
            self.rows = min(self.most, self.rows + self.step)


class Batcher:
    """Runs the jobs of one version in a thread of its own, merging those that wait together."""

    def __init__(
        self, served: ServedVersion, limits: BatchLimits, ran: Callable[[int, float], None] | None = None
    ) -> None:
        """Run for `served`; `ran` is told of each run's rows and seconds, in the batcher's thread."""
        self._served = served
        self._ran = ran
        self._limits = limits
        # A model that needs longer than the target for one row would else never merge, when it is most due.
        target_s = max(limits.latency_target_s, 2 * served.model.cost.first_row_s)
        self._limit = RowLimit(limits.max_rows, target_s, min(32, limits.max_rows))
        self._waiting: queue.SimpleQueue[tuple[Job, Deliver] | None] = queue.SimpleQueue()
        self._held: tuple[Job, Deliver] | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._counting = threading.Lock()
        self._gone = 0  # Cancelled while they wait: they are skipped when their turn comes.
        self._merges = served.signature.batched and limits.max_rows > 1

    @property
    def depth(self) -> int:
        """How many jobs wait; those whose clients have gone do not count."""
        return self._waiting.qsize() - self._gone

    def submit(self, job: Job, deliver: Deliver) -> None:
        """Queue `job`; `deliver` is called with it once it has a result or an error. Raises `QueueFull`."""
        depth = self.depth
        if depth >= self._limits.max_queue:
            raise QueueFull(
                f"queue of `{self._served.label}`",
                expected=f"fewer than {self._limits.max_queue} waiting requests",
                found=f"{depth}",
                hint="retry after the time in `retry-after`, or raise `max_queue`",
            )
        job.queued_at = time.perf_counter()
        job.on_cancel = self._left
        self._waiting.put((job, deliver))
        if self._thread is None:
            self._start()

    def stop(self) -> None:
        """Finish what waits, then end the thread."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _left(self, job: Job) -> None:
        """Count a job no longer that is cancelled while it waits."""
        with self._counting:
            if job.on_cancel is not None:
                job.on_cancel = None
                self._gone += 1

    def _take(self, job: Job) -> None:
        """Take a job out of the queue."""
        with self._counting:
            if job.on_cancel is None:
                self._gone -= 1
            job.on_cancel = None

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                name = f"batcher {self._served.label}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            first = self._held
            if first is None:
                first = self._waiting.get()
                if first is None:
                    return
                self._take(first[0])
            self._held = None
            self._run_with(first)
            del first  # Not kept until the next comes.

    def _run_with(self, first: tuple[Job, Deliver]) -> None:
        """Run `first` and what waits beside it, and hand all of it back."""
        taken = self._gather(first)
        live = [job for job, _ in taken if _still_wanted(job)]
        try:
            if live:
                self._run(live)
        except Exception:  # noqa: BLE001 - logged with its traceback; the thread lives for the next
            fail_rest(live)
        _deliver(taken)

    def _gather(self, first: tuple[Job, Deliver]) -> list[tuple[Job, Deliver]]:
        """Take what waits and fits together with `first`, up to the row limit."""
        taken, rows = [first], first[0].rows
        if not self._merges:
            return taken
        until = time.monotonic() + self._limits.max_delay_s
        while rows < self._limit.rows:
            pair = self._next(until)
            if pair is None:
                break
            if rows + pair[0].rows > self._limit.rows or not _compatible(first[0], pair[0]):
                self._held = pair
                break
            taken.append(pair)
            rows += pair[0].rows
        return taken

    def _next(self, until: float) -> tuple[Job, Deliver] | None:
        """Return the next waiting job without waiting, or within the delay that was asked for."""
        try:
            left = until - time.monotonic() if self._limits.max_delay_s else 0.0
            pair = self._waiting.get(timeout=left) if left > 0 else self._waiting.get_nowait()
        except queue.Empty:
            return None
        if pair is None:
            self._waiting.put(None)  # The end: leave it for the main loop, after this run.
        else:
            self._take(pair[0])
        return pair

    def _run(self, jobs: list[Job]) -> None:
        began = time.perf_counter()
        runs = [jobs] if run_jobs(self._served, jobs) else [[job] for job in jobs]
        took_s = time.perf_counter() - began
        self._limit.observe(sum(job.rows for job in jobs), took_s)
        for run in runs:
            run_s, rows = took_s / len(runs), sum(job.rows for job in run)
            for job in run:
                job.run_s, job.batch = run_s, BatchRecord(rows, queued_s=began - job.queued_at)
            if self._ran is not None:
                self._ran(rows, run_s)


def run_jobs(served: ServedVersion, jobs: list[Job]) -> bool:
    """Run `jobs` as one and give each its result; return whether they did run as one.

    Where that fails each runs alone, so that one bad request never fails its neighbours.
    """
    if len(jobs) > 1:
        try:
            outputs = served.run(_merged(jobs), _wanted(jobs))
            _split(served, jobs, outputs)
        except (LadingError, ValueError):
            for job in jobs:
                run_one(served, job)
            return False
    else:
        run_one(served, jobs[0])
    return True


def fail_rest(jobs: list[Job]) -> None:
    """Tell those of `jobs` that have no outcome; called where an exception that nobody foresaw is handled."""
    log.exception("%d requests for %s failed", len(jobs), jobs[0].served.label)  # noqa: LOG004 - called in handlers
    for job in jobs:
        if job.outcome is None:
            job.outcome = RunFailed("internal error", hint="the server's log has it")


def run_one(served: ServedVersion, job: Job) -> None:
    """Run one job alone; a failure becomes the job's error."""
    try:
        job.outcome = served.run(job.inputs, job.outputs)
    except LadingError as error:
        job.outcome = error


def grouped(served: ServedVersion, jobs: list[Job], most_rows: int) -> Iterator[list[Job]]:
    """Divide jobs of one version into those that can run as one, of `most_rows` rows if more than one."""
    if not served.signature.batched or most_rows <= 1:
        yield from ([job] for job in jobs)
        return
    if served.signature.fixed_rows and sum(job.rows for job in jobs) <= most_rows:
        yield jobs  # As most are: rows that can only have one shape.
        return
    groups: list[list[Job]] = []
    sizes: list[int] = []
    for job in jobs:
        for at, group in enumerate(groups):
            if sizes[at] + job.rows <= most_rows and _compatible(group[0], job):
                group.append(job)
                sizes[at] += job.rows
                break
        else:
            groups.append([job])
            sizes.append(job.rows)
    yield from groups


def _merged(jobs: list[Job]) -> dict[str, Array]:
    names = jobs[0].inputs
    return {name: np.concatenate([job.inputs[name] for job in jobs]) for name in names}


def _wanted(jobs: list[Job]) -> Sequence[str] | None:
    """Name every output that one of `jobs` asks for; None where one asks for all."""
    first = jobs[0].outputs
    if all(job.outputs == first for job in jobs):
        return first
    wanted: dict[str, None] = {}
    for job in jobs:
        if job.outputs is None:
            return None
        wanted.update(dict.fromkeys(job.outputs))
    return tuple(wanted)


def _split(served: ServedVersion, jobs: list[Job], outputs: dict[str, Array]) -> None:
    rows = sum(job.rows for job in jobs)
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise RunFailed(
                f"output `{name}` of `{served.label}`", expected=f"{rows} rows", found=f"{array.shape}"
            )
    start = 0
    for job in jobs:
        names = outputs if job.outputs is None else job.outputs
        job.outcome = {name: outputs[name][start : start + job.rows] for name in names}
        start += job.rows


def _compatible(one: Job, other: Job) -> bool:
    """Return whether the arrays of both have the same size in every dimension but the batch."""
    inputs = other.inputs
    for name, array in one.inputs.items():  # Every request passes here: mostly the shapes are the same.
        mine, others = array.shape, inputs[name].shape
        if mine != others and mine[1:] != others[1:]:
            return False
    return True


def _still_wanted(job: Job) -> bool:
    if job.cancelled:
        return False
    if job.is_overdue(time.monotonic()):
        job.outcome = DeadlineExceeded(
            f"model `{job.served.label}`", expected="an answer in time", found="a full queue"
        )
        return False
    return True


def _deliver(pairs: list[tuple[Job, Deliver]]) -> None:
    """Hand jobs back, grouped by where they wait, so that each place is woken once."""
    groups: dict[int, tuple[Deliver, list[Job]]] = {}
    for job, deliver in pairs:
        groups.setdefault(id(deliver), (deliver, []))[1].append(job)
    for deliver, jobs in groups.values():
        deliver(jobs)
