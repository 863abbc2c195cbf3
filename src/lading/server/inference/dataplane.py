"""The data plane: which version answers a request, and whether its job runs in this thread or is queued.

Every protocol uses it and it knows none: it has arrays, names and errors, and neither JSON nor status codes.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Protocol

from lading.errors import (
    DeadlineExceeded,
    LadingError,
    ModelNotReady,
    OutputUnknown,
    QueueFull,
)
from lading.release import Release
from lading.server.inference.batcher import Batcher, BatchLimits
from lading.server.inference.inline_runs import SURPRISE_S
from lading.server.inference.job import Deliver, Job
from lading.server.inference.merging import fail_unfinished, grouped, run_unqueued, runs_of
from lading.server.inference.readiness import Readiness
from lading.server.inference.request_memory import RequestMemory
from lading.server.inference.run import ShowRun
from lading.server.inference.surprise import Surprise
from lading.server.inference.traffic import Headers, Traffic
from lading.server.inference.trust import TrustFacts
from lading.server.inference.version import RunMarks, ServedVersion, State, not_ready
from lading.server.inference.version_table import ANSWERING, VersionTable
from lading.signature import Array
from lading.traffic import Taken

log = logging.getLogger("lading.server")

_SWEEP_S = 1.5
"""How long after its deadline a client has its answer at the latest: connections are swept once a second. A
run that was ended before would be answered as a failed one."""
_ENDING_S = 2.0  # How long an operator may take until the next one is not begun any more.
_LAST_RUN_S = 5.0


class Observer(Protocol):
    """What the data plane shows answers to; `server.observe` implements it."""

    windows: Any

    def record(self, traffic: Traffic, job: Job, request_id: bytes, latency_s: float, error: str) -> None:
        """Record one answer; ``error`` is the name of the error, or empty."""

    def record_rejection(
        self, traffic: Traffic, served: ServedVersion, latency_s: float, error: str, group: int
    ) -> None:
        """Record a request of a caller in `group` that the candidate `served` refused and live answered."""

    def copy(self, traffic: Traffic, job: Job, candidate: ServedVersion) -> None:
        """Run a copy of an answered job on a candidate in shadow."""

    def is_pair_due(self, name: str) -> bool:
        """Return whether it is time that both sides of a model's release answer one request."""

    def pair(self, traffic: Traffic, job: Job, live: ServedVersion, candidate: ServedVersion) -> None:
        """Run an answered job of either side on the other, and compare both answers."""

    def add_feedback(self, name: str, request_id: bytes, truth: tuple[str, ...]) -> Taken:
        """Add the truth about an answer; return where it was counted."""


LogLabels = Callable[[str, bytes, tuple[str, ...]], bool]
"""Logs the labels of an answer of a model; returns False if that answer is not one that is logged."""


class DataPlane:
    """The versions that answer, by model name, and the way of a job to one of them.

    ``worker`` is the number of this process among those that serve together, 0 if it is alone. ``on_run`` is
    called with each run that came out of a queue, ``show_run`` with each run for clients; ``marks_of``
    returns the marks of a version. ``splits`` is whether some release sends callers to one side or the other,
    ``watches`` whether some release records how requests fare, and ``judges`` whether some release has a
    candidate.
    """

    def __init__(
        self,
        default_model: str = "",
        *,
        batch: BatchLimits | None = None,
        deadline_s: float = 30.0,
        observer: Observer | None = None,
        memory: RequestMemory | None = None,
    ) -> None:
        self._default = default_model
        self._table = VersionTable.of((), {}, default_model)
        self.splits = False
        self.watches = False
        self.judges = False
        # Those that the follower last read, for people to see; None without one.
        self.releases: tuple[Release, ...] | None = None
        # What is known of the trust policy; None for a server without one.
        self.trust: TrustFacts | None = None
        self._batch = batch or BatchLimits()
        self._batchers: dict[ServedVersion, Batcher] = {}
        self.worker = 0
        self.on_run: Callable[[ServedVersion, int, float], None] = _ignore_run
        self.show_run: ShowRun | None = None
        self.marks_of: Callable[[str, int, str], RunMarks] = _private_marks
        self._caller: Headers | None = None
        self._resolved: ServedVersion | None = None
        self.deadline_s = deadline_s
        self.memory = memory or RequestMemory()
        self.readiness = Readiness(lambda: self._table)
        self.observer = observer
        self.log_labels: LogLabels | None = None
        if observer is not None:
            observer.windows.live_of = self._live

    @property
    def batch(self) -> BatchLimits:
        """The limits of merged runs."""
        return self._batch

    def publish(
        self, versions: Sequence[ServedVersion], traffic: Mapping[str, Traffic] | None = None
    ) -> None:
        """Make `versions` the ones that requests find; newest last within a model.

        To be called again whenever one of them has become ready or has ceased to be.
        """
        if not self._default and versions:
            self._default = versions[0].name
        # Readers take no lock. The whole table is replaced first and `splits` and `watches` follow, so that a
        # request finds its version as it was before a change or after, and at worst is not recorded in
        # between.
        self._table = VersionTable.of(versions, traffic or {}, self._default)
        self.splits = self._table.splits
        self.watches = self.observer is not None and bool(traffic)
        self.judges = any(release.candidate is not None for release in (traffic or {}).values())
        for served in list(self._batchers):
            if served not in versions and not served.in_memory:
                batcher = self._batchers.pop(served, None)
                if batcher is not None:
                    batcher.stop()

    def for_caller(self, headers: Headers) -> DataPlane:
        """Return the data plane as this caller sees it: releases that split send it to its side."""
        if not self.splits:
            return self
        view = copy(self)
        view._caller = headers  # noqa: SLF001 - a copy of its own kind
        return view

    def beside_candidate(self) -> DataPlane | None:
        """Return the data plane with live for this caller, or None if it was not sent to a candidate."""
        served = self._resolved
        traffic = self._table.traffic.get(served.name) if served is not None else None
        if served is None or traffic is None or served.version != traffic.candidate:
            return None
        view = copy(self)
        view._caller = None  # noqa: SLF001 - a copy of its own kind
        return view

    def record(self, job: Job, request_id: bytes, latency_s: float, error: str) -> None:
        """Record an answer for the release of its model; does nothing if the model has none."""
        traffic = self._table.traffic.get(job.served.name)
        if traffic is None or self.observer is None:
            return
        self.observer.record(traffic, job, request_id, latency_s, error)
        if traffic.candidate is None or error:
            return
        if traffic.shadows and job.served.version == traffic.live:
            candidate = self._table.numbered(job.served.name, traffic.candidate)
            if candidate is not None:
                self.observer.copy(traffic, job, candidate)
        elif traffic.pairs and self.observer.is_pair_due(traffic.name):
            live, candidate = (
                self._table.numbered(traffic.name, number) for number in (traffic.live, traffic.candidate)
            )
            if live is not None and candidate is not None:
                self.observer.pair(traffic, job, live, candidate)

    def record_gone(self, job: Job, request_id: bytes, latency_s: float, error: str) -> None:
        """Record a request whose client has gone, where callers are split between two versions.

        Clients that leave for reasons of their own leave both alike. A copy in shadow has no client: there
        the count would only excuse the candidate.
        """
        traffic = self._table.traffic.get(job.served.name)
        if traffic is not None and traffic.pairs and self.observer is not None:
            self.observer.record(traffic, job, request_id, latency_s, error)

    def record_rejection(self, latency_s: float, error: str, group: int) -> None:
        """Record a request that the candidate on this caller's side refused and live answered."""
        served = self._resolved
        traffic = self._table.traffic.get(served.name) if served is not None else None
        if served is not None and traffic is not None and self.observer is not None:
            self.observer.record_rejection(traffic, served, latency_s, error, group)

    @property
    def models(self) -> Mapping[str, tuple[ServedVersion, ...]]:
        """Every version this server holds, ready or not."""
        return self._table.models

    @property
    def traffic(self) -> Mapping[str, Traffic]:
        """How releases share the requests of each model."""
        return self._table.traffic

    @property
    def default_model(self) -> str:
        """The name of the model at the root routes; empty while no model is known."""
        return self._default

    def versions(self, name: str) -> tuple[ServedVersion, ...]:
        """Return the versions of `name`, ready or not; raises `ModelNotFound`, `ModelNotReady`."""
        return self._table.versions(name, self.readiness.not_ready_reason)

    def find(
        self, name: str | None = None, version: int | None = None, tag: str | None = None
    ) -> ServedVersion:
        """Return the version meant, ready or not: by number, by tag, else the one that takes traffic."""
        return self._table.find(name, version, tag, self.readiness.not_ready_reason)

    def resolve(
        self, name: str | None = None, version: int | None = None, tag: str | None = None
    ) -> ServedVersion:
        """Return the version meant, ready or draining: what drains answers until it is gone.

        Raises `ModelNotFound`, `VersionNotFound`, `TagNotFound`, `ModelNotReady`.
        """
        if version is None and tag is None:
            quick = self._table.ready.get(name) if self._caller is None else self._side(name)
            if quick is not None and quick.state is State.READY:
                return quick
        served = self.find(name, version, tag)
        if served.state not in ANSWERING:
            raise not_ready(served)
        return served

    def _side(self, name: str | None) -> ServedVersion | None:
        assert self._caller is not None
        self._resolved = self._table.side(name, self._caller, random.random)
        return self._resolved

    def _live(self, name: str) -> ServedVersion | None:
        return self._table.live(name)

    def has_tag(self, name: str, tag: str) -> bool:
        """Return whether a version of the model `name`, ready or not, has `tag`."""
        return any(tag in served.tags for served in self._table.models.get(name, ()))

    def start(self, job: Job, deliver: Deliver) -> bool:
        """Run `job` in this thread if it is known to be short, else queue it; return whether it has run.

        A queued job comes back through `deliver`, in another thread and perhaps among others. Either way
        the caller calls `release`, once. Raises `ModelNotReady` and `QueueFull`; then there is nothing to
        release.
        """
        if self._run_inline(job):
            return True
        self._queue(job, deliver)
        return False

    def is_cheap(self, job: Job) -> bool:
        """Return whether running `job` is known to cost less than passing it to a thread."""
        return _is_short(job)

    def run_together(self, jobs: list[Job]) -> None:
        """Run cheap jobs in this thread, those of one version and outputs as one; each gets its outcome."""
        kinds: dict[Any, list[Job]] = {}
        for job in jobs:
            kinds.setdefault((job.served, job.outputs, job.row_size), []).append(job)
        for (served, _, size), alike in kinds.items():
            runs = served.model.inline_runs
            # Together they must not be more than is known to be short either.
            short_rows = runs.rows if size is None else runs.short_rows.get(size, 0)
            most_rows = min(self._batch.max_rows, short_rows)
            for group in grouped(served, alike, most_rows):
                try:
                    run_unqueued(served, group, self.show_run)
                except Exception:  # noqa: BLE001 - logged with its traceback; the other groups go on
                    fail_unfinished(group)
                if group[0].run_s > SURPRISE_S:
                    self._look_again(group)

    def was_unloaded(self, job: Job) -> bool:
        """Return whether `job` failed because its version was unloaded: it has to be resolved again."""
        return isinstance(job.outcome, ModelNotReady)

    def _run_inline(self, job: Job) -> bool:
        served = job.served
        if not _is_short(job):
            return False
        began = time.perf_counter()
        try:
            job.outcome = served.run(job.inputs, job.outputs)
        except ModelNotReady:
            raise  # The caller resolves again.
        except LadingError as error:
            job.outcome = error
        job.run_s = took_s = time.perf_counter() - began
        if took_s > SURPRISE_S:
            self._look_again([job])
        if self.show_run is not None:
            for run in runs_of([job]):
                self.show_run(run)
        return True

    def _look_again(self, jobs: list[Job]) -> None:
        """Keep runs of this size in the queue until another shows whether the model took so long."""
        surprise = Surprise.of(jobs)
        if surprise is None:
            return

        def settle(_jobs: list[Job]) -> None:
            surprise.settle()
            self.release(surprise.job)

        try:
            self._queue(surprise.job, settle)
        except (ModelNotReady, QueueFull):
            surprise.forget()

    def _queue(self, job: Job, deliver: Deliver) -> None:
        served = job.served
        served.acquire()
        job.holds_version = True
        job.deadline = time.monotonic() + self.deadline_s
        try:
            self._batcher(served).submit(job, deliver)
        except QueueFull:
            self.release(job)
            raise

    def run(self, job: Job, patience: Callable[[], float | None] | None = None) -> dict[str, Array]:
        """Run `job` and wait for its outputs; for callers that have a thread of their own.

        Waits ``deadline_s``, or less if the client has less `patience`: it is called once, for seconds, and
        only if the job has to wait. Raises what refuses or fails the job; `DeadlineExceeded` also stands for
        a job that was cancelled.
        """
        if not self._run_inline(job):
            waiting = _Waiting(self)
            self._queue(job, waiting.deliver)
            patience_s = patience() if patience is not None else None
            waiting.wait(job, self.deadline_s if patience_s is None else min(patience_s, self.deadline_s))
        self.release(job)
        outcome = job.outcome
        if isinstance(outcome, LadingError):
            raise outcome
        if outcome is None:
            raise self.deadline_error(job)
        return outcome

    def release(self, job: Job) -> None:
        """Release the version that `job` holds, if it holds one."""
        if job.holds_version:
            job.holds_version = False
            job.served.release()

    def deadline_error(self, job: Job) -> DeadlineExceeded:
        """Return the error of a `job` that was not answered in time."""
        expected = f"an answer within {self.deadline_s:g} s"
        return DeadlineExceeded(f"model `{job.served.label}`", expected=expected, found="none")

    def depth(self, served: ServedVersion) -> int:
        """Count the jobs that wait for `served`."""
        batcher = self._batchers.get(served)
        return batcher.depth if batcher is not None else 0

    def end_long_runs(self, limit_s: float) -> None:
        """End runs of queued jobs that have lasted longer: their clients have been answered.

        The server is not ready while one cannot be ended, because what waits behind it does not move.
        """
        now, stuck = time.monotonic(), ""
        for served, batcher in list(self._batchers.items()):
            since = batcher.running_since
            lasted_s = now - since if since else 0.0
            if lasted_s > limit_s + _SWEEP_S + _ENDING_S:
                stuck = f"a run of `{served.label}` cannot be ended; {batcher.depth} requests wait behind it"
            elif lasted_s > limit_s + _SWEEP_S and batcher.ended_since != since:  # Once for each run.
                batcher.ended_since = since
                log.warning(
                    "%s: a run has not ended within %g s; ending it",
                    served.label,
                    limit_s,
                    extra=served.about,
                )
                _end_runs(served)
        self.readiness.stuck_reason = stuck

    def end_all_runs(self, why: str) -> None:
        """End every run that is in flight."""
        log.warning("%s; ending every run", why)
        for versions in self.models.values():
            for served in versions:
                _end_runs(served)

    def close(self) -> None:
        """Finish what waits in every batcher; what runs and does not end is ended, or abandoned."""
        for served, batcher in self._batchers.items():
            if batcher.stop(_LAST_RUN_S):
                continue
            log.warning(
                "%s: the server is stopping, and a run has not ended; ending it",
                served.label,
                extra=served.about,
            )
            _end_runs(served)
            if not batcher.stop(_LAST_RUN_S):
                log.warning("%s: a run that cannot be ended is abandoned", served.label, extra=served.about)

    def _batcher(self, served: ServedVersion) -> Batcher:
        batcher = self._batchers.get(served)
        if batcher is None:
            made = Batcher(
                served, self._batch, lambda rows, took_s: self.on_run(served, rows, took_s), self.show_run
            )
            batcher = self._batchers.setdefault(served, made)  # Another thread may have been quicker.
        return batcher


def _is_short(job: Job) -> bool:
    """Return whether a run of `job` is known to be short; every request passes here."""
    model = job.served.loaded
    assert model is not None  # `resolve` returns no version that is not loaded.
    runs = model.inline_runs
    if not runs.varies:
        return job.rows <= runs.rows
    size = job.row_size
    if size is None:
        size = job.row_size = runs.size_of(job.inputs, job.rows)
    return job.rows <= runs.short_rows.get(size, 0)


def _end_runs(served: ServedVersion) -> None:
    if served.loaded is not None and served.in_memory:
        served.loaded.runtime.terminate()


def _ignore_run(_served: ServedVersion, _rows: int, _took_s: float) -> None:
    """Ignore a run."""


def _private_marks(_name: str, _version: int, _digest: str) -> RunMarks:
    """Return marks that nobody else reads."""
    return [0.0, 0.0]


class _Waiting:
    """A thread that waits for one job; the last of the two, thread or batcher, releases the version."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._gave_up = False

    def deliver(self, jobs: list[Job]) -> None:
        with self._lock:
            self._done.set()
            if self._gave_up:
                self._plane.release(jobs[0])

    def wait(self, job: Job, timeout_s: float) -> None:
        self._done.wait(timeout_s)
        with self._lock:
            if not self._done.is_set():
                self._gave_up = True
                job.cancel()
                raise self._plane.deadline_error(job)


def check_outputs(served: ServedVersion, names: Sequence[str], *, forms: int = 1) -> None:
    """Raise `OutputUnknown` for a name that is no output, or that comes more often than there are `forms`.

    Without that limit one name again and again would make a small request's answer as large as the memory.
    """
    known = {tensor.name: 0 for tensor in served.signature.outputs}
    for name in names:
        if name not in known:
            expected = ", ".join(f"`{output}`" for output in known)
            raise OutputUnknown(f"output of `{served.label}`", expected=expected, found=f"`{name}`")
        known[name] += 1
        if known[name] > forms:
            often = "once" if forms == 1 else f"at most {forms} times"
            raise OutputUnknown(
                f"outputs of `{served.label}`", expected=f"each {often}", found=f"`{name}` again"
            )


def rows_in(served: ServedVersion, inputs: Mapping[str, Array]) -> int:
    """Count the rows of a request; 1 if the model has no batch dimension."""
    first = served.signature.inputs[0]
    return int(inputs[first.name].shape[0]) if first.batched else 1
