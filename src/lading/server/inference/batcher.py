"""Dynamic batching for one loaded version: jobs that wait while the model is busy run as one.

Work-conserving: an idle model runs a job immediately, and no timer ever holds a request back unless
``max_queue_delay_ms`` asks for it. The limit on merged rows follows the latency target by additive
increase and multiplicative decrease (Crankshaw et al., Clipper, NSDI 2017, section 4.3).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lading.errors import DeadlineExceeded, QueueFull
from lading.server.inference.inline_runs import INLINE_S
from lading.server.inference.job import BatchRecord, Deliver, Job
from lading.server.inference.merging import are_compatible, fail_unfinished, run_jobs, runs_of
from lading.server.inference.run import Run, ShowRun
from lading.server.inference.version import ServedVersion

QueuedJob = tuple[Job, Deliver]
"""A job, and how it returns to the place where its client waits."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much may wait and how much may run as one. Times in seconds, sizes in rows."""

    max_queue: int = 1024
    max_rows: int = 1024
    latency_target_s: float = 0.05
    max_delay_s: float = 0.0


@dataclass(slots=True)
class RowLimit:
    """The rows that may run as one, learned from the runs.

    A full run within the target raises the limit by a step, a slow run lowers it by a quarter.
    """

    most: int
    target_s: float
    rows: int = 32
    step: int = 8

    def observe(self, rows: int, took_s: float) -> None:
        """Adapt to one run of `rows` rows."""
        if took_s > self.target_s:
            # A run of less than half the limit does not show that the limit is too high: a single row may
            # meet a moment at which the machine stood still.
            if 2 * rows >= self.rows:
                self.rows = max(1, min(self.rows, rows) * 3 // 4)
        elif rows >= self.rows:
            self.rows = min(self.most, self.rows + self.step)


class Batcher:
    """Runs the jobs of one version in a thread of its own, merging those that wait at the same time."""

    def __init__(
        self,
        served: ServedVersion,
        limits: BatchLimits,
        on_run: Callable[[int, float], None] | None = None,
        show: ShowRun | None = None,
    ) -> None:
        """Run jobs of `served`; `on_run` is called with the rows and seconds of each run, in its thread.

        `show` is called with each run for clients.
        """
        self._served = served
        self._on_run = on_run
        self._show = show
        self._limits = limits
        # A model that needs longer than the target for one row would never merge, just when it is most due.
        target_s = max(limits.latency_target_s, 2 * served.model.cost.first_row_s)
        self._limit = RowLimit(limits.max_rows, target_s, min(32, limits.max_rows))
        self._waiting: queue.SimpleQueue[QueuedJob | None] = queue.SimpleQueue()  # None ends the thread.
        self._held: QueuedJob | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._counting = threading.Lock()
        self._cancelled = 0  # Still in the queue: they are skipped when their turn comes.
        self.running_since = 0.0  # on the clock of `time.monotonic`; 0 while nothing runs
        self.ended_since = 0.0  # `running_since` of the last run that was ended from outside
        self._merges = served.signature.batched and limits.max_rows > 1

    @property
    def depth(self) -> int:
        """How many jobs wait; those whose clients have gone do not count."""
        return self._waiting.qsize() - self._cancelled

    def submit(self, job: Job, deliver: Deliver) -> None:
        """Queue `job`; `deliver` is called with it once it has an outcome. Raises `QueueFull`."""
        depth = self.depth
        if depth >= self._limits.max_queue:
            raise QueueFull(
                f"queue of `{self._served.label}`",
                expected=f"fewer than {self._limits.max_queue} waiting requests",
                found=f"{depth}",
                hint="retry after the time in `retry-after`, or raise `max_queue`",
            )
        job.queued_at = time.perf_counter()
        job.on_cancel = self._on_cancel
        self._waiting.put((job, deliver))
        if self._thread is None:
            self._start()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish what waits, then end the thread; return whether it has ended within `timeout_s`."""
        self._waiting.put(None)
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _on_cancel(self, job: Job) -> None:
        """Stop counting a job that is cancelled while it waits."""
        with self._counting:
            if job.on_cancel is not None:
                job.on_cancel = None
                self._cancelled += 1

    def _dequeue(self, job: Job) -> None:
        """Count a job out of the queue."""
        with self._counting:
            if job.on_cancel is None:
                self._cancelled -= 1
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
                self._dequeue(first[0])
            self._held = None
            self._run_with(first)
            del first  # Its arrays are not kept until the next job comes.

    def _run_with(self, first: QueuedJob) -> None:
        """Run `first` and what waits beside it, and return all of it to the clients."""
        batch = self._gather(first)
        live = [job for job, _ in batch if _is_live(job)]
        self.running_since = time.monotonic()
        runs: list[Run] = []
        try:
            if live:
                runs = self._run(live)
        except Exception:  # noqa: BLE001 - logged with its traceback; the thread lives for the next
            fail_unfinished(live)
        self.running_since = 0.0
        # Clients first: what looks at runs takes its time, and the interpreter's lock.
        _deliver(batch)
        if self._show is not None:
            for run in runs:
                self._show(run)

    def _gather(self, first: QueuedJob) -> list[QueuedJob]:
        """Take what waits and is compatible with `first`, up to the row limit."""
        batch, rows = [first], first[0].rows
        if not self._merges:
            return batch
        until = time.monotonic() + self._limits.max_delay_s
        while rows < self._limit.rows:
            queued = self._next(until)
            if queued is None:
                break
            job = queued[0]
            if rows + job.rows > self._limit.rows or not are_compatible(first[0], job):
                self._held = queued  # It begins the next batch.
                break
            batch.append(queued)
            rows += job.rows
        return batch

    def _next(self, until: float) -> QueuedJob | None:
        """Return the next waiting job without waiting, or within the delay that was asked for."""
        try:
            left_s = until - time.monotonic() if self._limits.max_delay_s else 0.0
            queued = self._waiting.get(timeout=left_s) if left_s > 0 else self._waiting.get_nowait()
        except queue.Empty:
            return None
        if queued is None:
            self._waiting.put(None)  # The end: left for the main loop, after this run.
        else:
            self._dequeue(queued[0])
        return queued

    def _run(self, jobs: list[Job]) -> list[Run]:
        """Run `jobs`; return the runs for clients, as they are before anybody takes the outcomes."""
        began = time.perf_counter()
        run = run_jobs(self._served, jobs)
        took_s = time.perf_counter() - began
        as_one = run is not None
        runs, rows = [jobs] if as_one else [[job] for job in jobs], sum(job.rows for job in jobs)
        self._limit.observe(rows, took_s)
        if as_one and took_s < INLINE_S:
            self._served.model.inline_runs.ran((job.inputs for job in jobs), rows)
        for merged in runs:
            run_s, rows = took_s / len(runs), sum(job.rows for job in merged)
            for job in merged:
                queued_s = began - job.queued_at
                job.run_s = run_s
                job.batch = BatchRecord(rows, queued_s=queued_s, run=run if len(merged) > 1 else None)
            if self._on_run is not None:
                self._on_run(rows, run_s)
        # One that only measures how long a run takes may be among them.
        only_clients = all(job.exchange is not None for job in jobs)
        return runs_of(jobs, run if only_clients else None)


def _is_live(job: Job) -> bool:
    if job.cancelled:
        return False
    if job.is_overdue(time.monotonic()):
        job.outcome = DeadlineExceeded(
            f"model `{job.served.label}`", expected="an answer in time", found="a full queue"
        )
        return False
    return True


def _deliver(batch: list[QueuedJob]) -> None:
    """Return jobs to their clients, grouped by where they wait, so that each place is woken once."""
    groups: dict[int, tuple[Deliver, list[Job]]] = {}
    for job, deliver in batch:
        groups.setdefault(id(deliver), (deliver, []))[1].append(job)
    for deliver, jobs in groups.values():
        deliver(jobs)
