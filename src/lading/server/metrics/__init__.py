"""What the server counts, and how the counts of all workers become one summary. `page` shows it.

Counters are in `shared_memory`: each worker adds to its own, and the worker that is asked sums those of all.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lading.errors import TrustError
from lading.release import Release
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion, State
from lading.server.metrics import input_checks
from lading.server.metrics import jobs as job_counts
from lading.server.metrics.counts import (
    BATCH_BOUNDS,
    REQUESTS,
    RUNS,
    RequestCounters,
    RequestCounts,
    RunCounters,
)
from lading.server.metrics.jobs import JobStatus, job_status
from lading.server.metrics.layout import Layout
from lading.server.metrics.model_processes import PROCESSES, ModelProcesses, ProcessCounts, model_processes
from lading.server.metrics.monitoring import (
    ALARMS,
    DRIFT,
    TURN,
    MonitorGauges,
    MonitorStatus,
    monitor_status,
)
from lading.server.metrics.run_marks import RUNNING, run_marks
from lading.server.metrics.shared_memory import Counters, CounterStore, Name, PrivateCounters, WorkerCounters

__all__ = [
    "VERDICTS",
    "DriverStatus",
    "Following",
    "Key",
    "Metrics",
    "ReplayStatus",
    "RequestCounters",
    "RequestCounts",
    "RunCounters",
    "Summary",
    "VersionStatus",
    "WorkerStatus",
    "count_spans",
    "is_gauge",
]

Key = tuple[str, str, str]
"""Model, version, protocol; model and version are empty for a request that reached none."""

_REQUESTS, _RUNS, _VERSION, _PROCESS, _CPU = "requests", "runs", "version", "process", "cpu"
_DRIVER, _VERDICT = "driver", "verdict"
_GRPC_ENDED = "grpc_ended"
_LOG_RECORDS, _LOG_DROPPED = "log_records", "log_dropped"
_UNSEEN = "unseen_rows"
_SPANS = "spans"

VERDICTS = ("promote", "hold", "roll_back")
"""What a verdict can be; stored by its place plus one, because 0 says that there is none."""

# The state is stored plus one, because 0 says that the worker does not have the version.
_VERSION_GAUGES = Layout(state=1, in_flight=1, queued=1, last_request_at=1)
_STATE = _VERSION_GAUGES.start("state")
_IN_FLIGHT = _VERSION_GAUGES.start("in_flight")
_QUEUED = _VERSION_GAUGES.start("queued")
_LAST_REQUEST_AT = _VERSION_GAUGES.start("last_request_at")
_PROCESS_GAUGES = Layout(resident_bytes=1, connections=1, request_bytes=1)
_RESIDENT_BYTES = _PROCESS_GAUGES.start("resident_bytes")
_CONNECTIONS = _PROCESS_GAUGES.start("connections")
_REQUEST_BYTES = _PROCESS_GAUGES.start("request_bytes")

_STATM = Path("/proc/self/statm")


def is_gauge(name: Name) -> bool:
    """Return whether counters say how things are now; all others count, and outlive their worker."""
    return name[0] in (
        *(_VERSION, _PROCESS, _DRIVER, _VERDICT, RUNNING, PROCESSES),
        *(TURN, DRIFT, ALARMS),
        *(job_counts.DEPTH, job_counts.PUBLISHED),
    )


@dataclass(slots=True)
class VersionStatus:
    """One version over all workers: how many have it in which state, and the requests in flight and queued.

    ``last_request_at`` is in seconds since the epoch, to about a second; 0 for never.
    """

    model: str
    version: str
    digest: str
    states: dict[State, int]
    in_flight: int = 0
    queued: int = 0
    last_request_at: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker. ``cpu_s`` includes its predecessors of the same number.

    ``request_bytes`` is what requests in flight and their answers take, as far as they are counted.
    """

    number: int
    pid: int
    starts: int
    cpu_s: float
    resident_bytes: int
    connections: int
    request_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Following:
    """What this worker last read of the releases. Times are in seconds since the epoch; 0 is never."""

    releases: tuple[Release, ...]
    catalog_answered_at: float
    catalog_waiting_s: float
    catalog_answers: bool


@dataclass(frozen=True, slots=True)
class DriverStatus:
    """The worker that drives the rollouts: its last turn, and its last verdict on each running release."""

    turn_at: float
    verdicts: dict[str, str]


@dataclass(frozen=True, slots=True)
class ReplayStatus:
    """The replay of the golden samples by which a version became ready in this worker."""

    model: str
    version: str
    rows: int
    seconds: float
    max_abs_error: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that is counted, over all workers; ``following`` and ``replays`` are of this one.

    ``grpc_ended`` counts calls and connections of gRPC that were ended because of their client, by reason;
    ``spans`` those of traces, by outcome.
    ``log_records`` counts the records that the prediction log has, by model and version, and ``log_dropped``
    those that it will never have, by reason.
    ``checked_rows`` and ``unseen_rows`` are by model and version, ``check_failures`` by column and rule, too.
    """

    requests: dict[Key, RequestCounts]
    runs: dict[tuple[str, str], RunCounters]
    versions: list[VersionStatus]
    workers: list[WorkerStatus]
    following: Following | None = None
    driver: DriverStatus | None = None
    replays: tuple[ReplayStatus, ...] = ()
    trust_policy: str = ""
    trust_refused: dict[tuple[str, str], bool] = field(default_factory=dict)
    grpc_ended: dict[str, int] = field(default_factory=dict)
    spans: dict[str, int] = field(default_factory=dict)
    model_processes: tuple[ModelProcesses, ...] = ()
    monitor: MonitorStatus | None = None
    jobs: JobStatus = field(default_factory=JobStatus)
    log_records: dict[tuple[str, str], int] = field(default_factory=dict)
    log_dropped: dict[str, int] = field(default_factory=dict)
    checked_rows: dict[Name, int] = field(default_factory=dict)
    unseen_rows: dict[Name, int] = field(default_factory=dict)
    check_failures: dict[Name, int] = field(default_factory=dict)

    def runs_by_version(self) -> dict[tuple[str, str], tuple[float, int, list[int]]]:
        """Return seconds, rows, and runs by rows of each version, queued or not."""
        totals = {key: (runs.run_s, runs.rows, runs.by_rows) for key, runs in self.runs.items()}
        nothing = (0.0, 0, [0] * (len(BATCH_BOUNDS) + 1))
        for (model, version, _), counts in self.requests.items():
            unqueued = counts.runs_by_rows
            if any(unqueued):
                run_s, rows, by_rows = totals.get((model, version), nothing)
                summed = [a + b for a, b in zip(unqueued, by_rows, strict=True)]
                totals[model, version] = (run_s + counts.run_s, rows + counts.unqueued_rows, summed)
        return totals


def count_spans(store: CounterStore, outcome: str, count: int) -> None:
    """Count spans by what happened to them; one thread of a process calls this."""
    store.counters((_SPANS, outcome), 1)[0] += count


class Metrics:
    """The counts of this process, and their sum over all workers.

    Call `publish` some times a second: the gauges that other workers see of this one are as old as that.
    """

    def __init__(self, plane: DataPlane, store: CounterStore | None = None) -> None:
        self._plane = plane
        self._store: CounterStore = store or PrivateCounters(os.getpid())
        self._requests: dict[Key, RequestCounters] = {}
        # By version and protocol: each request looks its counters up here.
        self._by_version: dict[tuple[ServedVersion, str], RequestCounters] = {}
        self._runs: dict[tuple[str, str], RunCounters] = {}
        self._published: dict[Name, Counters] = {}
        self._rows_published: dict[Name, int] = {}
        self._verdicts: dict[str, Counters] = {}
        # Added to what the predecessors of this worker have used.
        self._cpu = self._store.counters((_CPU,), 1)
        self._cpu_before_s = self._cpu[0]
        self._processes = ProcessCounts(self._store)
        self.monitor = MonitorGauges(self._store)
        plane.on_run = self._count_run
        plane.marks_of = partial(run_marks, self._store)

    @property
    def store(self) -> CounterStore:
        """Where this process counts."""
        return self._store

    @property
    def worker(self) -> int:
        """The number of this worker; 0 if it is alone."""
        return self._store.worker

    @property
    def is_first(self) -> bool:
        """Whether no worker with a lower number runs."""
        return all(worker.number >= self.worker for worker in self._store.workers() if worker.pid)

    def counters(self, model: str, version: int, protocol: str) -> RequestCounters:
        """Return the counters of one model version over one protocol in this process."""
        key = (model, str(version) if model else "", protocol)
        counters = self._requests.get(key)
        if counters is None:
            stored = self._store.counters((_REQUESTS, *key), REQUESTS.size)
            counters = self._requests[key] = RequestCounters(stored)
        return counters

    def counters_of(self, served: ServedVersion, protocol: str) -> RequestCounters:
        """Return the counters of a version; faster than `counters`, because each request asks."""
        counters = self._by_version.get((served, protocol))
        if counters is None:
            counters = self.counters(served.name, served.version, protocol)
            self._by_version[served, protocol] = counters
        return counters

    def publish(self, connections: int | None = None) -> None:
        """Let all workers see the gauges of this one: its versions, memory, CPU time and connections."""
        self._publish_versions()
        process = self._store.counters((_PROCESS,), _PROCESS_GAUGES.size)
        process[_RESIDENT_BYTES] = _resident_bytes()
        process[_REQUEST_BYTES] = self._plane.memory.used_bytes
        if connections is not None:
            process[_CONNECTIONS] = connections
        self._cpu[0] = self._cpu_before_s + time.process_time()

    def summary(self) -> Summary:
        """Sum the counts of all workers, including those that have ended."""
        workers = self._store.workers()
        sums = _sums(workers)
        return Summary(
            requests={
                (name[1], name[2], name[3]): RequestCounts(counters)
                for name, counters in sums.items()
                if name[0] == _REQUESTS
            },
            runs={
                (name[1], name[2]): RunCounters(counters)
                for name, counters in sums.items()
                if name[0] == _RUNS
            },
            versions=list(_versions(workers)),
            workers=[_worker(worker) for worker in workers],
            following=self._following(),
            driver=next(filter(None, map(_driver, workers)), None),
            replays=tuple(self._replays()),
            trust_policy=self._plane.trust.digest if self._plane.trust is not None else "",
            trust_refused=self._trust_refused(),
            grpc_ended={name[1]: int(counts[0]) for name, counts in sums.items() if name[0] == _GRPC_ENDED},
            spans={name[1]: int(counts[0]) for name, counts in sums.items() if name[0] == _SPANS},
            model_processes=tuple(model_processes(workers, sums)),
            monitor=monitor_status(workers),
            jobs=job_status(workers, sums),
            log_records={
                (name[1], name[2]): int(counts[0]) for name, counts in sums.items() if name[0] == _LOG_RECORDS
            },
            log_dropped={name[1]: int(counts[0]) for name, counts in sums.items() if name[0] == _LOG_DROPPED},
            checked_rows=input_checks.counts_of(sums, input_checks.CHECKED),
            unseen_rows=input_checks.counts_of(sums, _UNSEEN),
            check_failures=input_checks.counts_of(sums, input_checks.FAILED),
        )

    def count_grpc_ended(self, reason: str) -> None:
        """Count a call or connection of gRPC that was ended because of its client; call it under a lock."""
        self._store.counters((_GRPC_ENDED, reason), 1)[0] += 1

    def count_log_records(self, model: str, version: int, records: int) -> None:
        """Count records that are in the prediction log; one thread calls this."""
        self._store.counters((_LOG_RECORDS, model, str(version)), 1)[0] += records

    def count_log_dropped(self, reason: str, records: int) -> None:
        """Count records that will never be in the prediction log; for each reason one thread at a time."""
        self._store.counters((_LOG_DROPPED, reason), 1)[0] += records

    def count_unseen(self, model: str, version: int, rows: int) -> None:
        """Count rows that nothing has looked at; call it under a lock."""
        self._store.counters((_UNSEEN, model, str(version)), 1)[0] += rows

    def publish_driver(self, leading: bool, verdicts: Mapping[str, str]) -> None:
        """Let all workers see whether this one drives the rollouts, and its verdicts by model."""
        gauges = self._store.counters((_DRIVER,), 1)
        gauges[0] = time.time() if leading else 0.0
        for name in self._verdicts.keys() - verdicts.keys():
            self._verdicts.pop(name)[0] = 0.0
        for model, action in verdicts.items():
            if model not in self._verdicts:
                self._verdicts[model] = self._store.counters((_VERDICT, model), 1)
            self._verdicts[model][0] = VERDICTS.index(action) + 1.0

    def _trust_refused(self) -> dict[tuple[str, str], bool]:
        """Return which versions the policy does not let in, and whether they answer all the same."""
        if self._plane.trust is None:
            return {}
        refused = {
            (version.name, str(version.version)): False
            for versions in self._plane.models.values()
            for version in versions
            if isinstance(version.failure, TrustError)
        }
        return refused | {(name, str(number)): True for name, number in self._plane.trust.objections}

    def _following(self) -> Following | None:
        readiness = self._plane.readiness
        if self._plane.releases is None:
            return None
        return Following(
            self._plane.releases,
            readiness.catalog_answered_at,
            readiness.catalog_waiting_s(),
            not readiness.catalog_trouble(),
        )

    def _replays(self) -> Iterator[ReplayStatus]:
        for versions in self._plane.models.values():
            for served in versions:
                if served.replayed is not None:
                    replayed = served.replayed
                    yield ReplayStatus(
                        served.name,
                        str(served.version),
                        replayed.rows,
                        replayed.seconds,
                        replayed.max_abs_error,
                    )

    def _publish_versions(self) -> None:
        present: dict[Name, ServedVersion] = {}
        for versions in self._plane.models.values():
            for served in versions:
                present[_VERSION, served.name, str(served.version), served.digest] = served
        # Slots cannot be freed: a version that is gone leaves its gauges behind, with no state.
        for name in self._published.keys() - present.keys():
            self._published.pop(name)[_STATE] = 0.0
            self._rows_published.pop(name, None)
        rows = self._rows_by_version()
        self._processes.publish(present.values())
        for name, served in present.items():
            if name not in self._published:
                self._published[name] = self._store.counters(name, _VERSION_GAUGES.size)
            self._publish_version(name, served, rows.get(name[1:3], 0))
        if self._by_version:
            # An unloaded version must not stay in memory because of its counters.
            held = set(present.values())
            for key in [key for key in list(self._by_version) if key[0] not in held]:
                self._by_version.pop(key, None)

    def _rows_by_version(self) -> dict[Name, int]:
        # In one pass: looking through all counters for each version stops a server of 1,000 models for
        # seconds.
        rows: dict[Name, int] = {}
        for key, counters in list(self._requests.items()):
            rows[key[:2]] = rows.get(key[:2], 0) + counters.rows
        return rows

    def _publish_version(self, name: Name, served: ServedVersion, rows: int) -> None:
        gauges = self._published[name]
        gauges[_STATE] = served.state + 1.0
        gauges[_IN_FLIGHT] = served.in_flight
        gauges[_QUEUED] = self._plane.depth(served)
        # Compared here, ten times a second, because reading the clock for each request would cost it more.
        if rows != self._rows_published.get(name, 0):
            self._rows_published[name] = rows
            gauges[_LAST_REQUEST_AT] = time.time()

    def _count_run(self, served: ServedVersion, rows: int, took_s: float) -> None:
        key = (served.name, str(served.version))
        counters = self._runs.get(key)
        if counters is None:
            counters = self._runs[key] = RunCounters(self._store.counters((_RUNS, *key), RUNS.size))
        counters.count_run(rows, took_s)


def _sums(workers: Iterable[WorkerCounters]) -> dict[Name, list[float]]:
    sums: dict[Name, list[float]] = {}
    for worker in workers:
        for name, counters in worker.counters.items():
            if is_gauge(name):  # A sum over workers says nothing here: `_versions` and `_worker` read gauges.
                continue
            so_far = sums.get(name)
            sums[name] = (
                list(counters) if so_far is None else [a + b for a, b in zip(so_far, counters, strict=True)]
            )
    return sums


def _versions(workers: Iterable[WorkerCounters]) -> Iterator[VersionStatus]:
    statuses: dict[Name, VersionStatus] = {}
    for worker in workers:
        for name, gauges in worker.counters.items():
            if name[0] != _VERSION:
                continue
            status = statuses.setdefault(name, VersionStatus(name[1], name[2], name[3], {}))
            status.last_request_at = max(status.last_request_at, gauges[_LAST_REQUEST_AT])
            if worker.pid and gauges[_STATE]:  # The gauges of a killed worker are what it published last.
                state = State(int(gauges[_STATE]) - 1)
                status.states[state] = status.states.get(state, 0) + 1
                status.in_flight += int(gauges[_IN_FLIGHT])
                status.queued += int(gauges[_QUEUED])
    return (status for status in statuses.values() if status.states)


def _worker(worker: WorkerCounters) -> WorkerStatus:
    nothing = (0.0,) * _PROCESS_GAUGES.size
    gauges = worker.counters.get((_PROCESS,), nothing) if worker.pid else nothing
    cpu: Sequence[float] = worker.counters.get((_CPU,), (0.0,))
    resident, connections = int(gauges[_RESIDENT_BYTES]), int(gauges[_CONNECTIONS])
    requests = int(gauges[_REQUEST_BYTES])
    return WorkerStatus(worker.number, worker.pid, worker.starts, cpu[0], resident, connections, requests)


def _driver(worker: WorkerCounters) -> DriverStatus | None:
    turn_at = worker.counters.get((_DRIVER,), (0.0,))[0] if worker.pid else 0.0
    if not turn_at:
        return None
    gauges = {name[1]: counters[0] for name, counters in worker.counters.items() if name[0] == _VERDICT}
    return DriverStatus(turn_at, {model: VERDICTS[int(at) - 1] for model, at in gauges.items() if at})


def _resident_bytes() -> int:
    """Return the resident size of this process, or 0, which is not shown, if there is no /proc."""
    try:
        return int(_STATM.read_bytes().split()[1]) * mmap.PAGESIZE  # In pages; proc_pid_statm(5).
    except OSError:
        return 0
