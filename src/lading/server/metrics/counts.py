"""The counts of requests and runs: their layout, how they are added to, and how they are read. Shows nothing.

One thread at a time writes a block: the loop's for REST, whichever holds the lock for gRPC, the batcher's for
runs. Counting one request takes well under a microsecond, which is why indices are constants that the layout
computes once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from lading.errors import LadingError, leaves
from lading.server.inference.job import BatchRecord, Job
from lading.server.metrics.layout import Layout
from lading.server.metrics.shared_memory import Counters

SHOWN_BOUNDS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)  # fmt: skip
"""Upper bounds of the latency histograms on the page."""

TFS_BOUNDS_S = tuple(10e-6 * 1.8**number for number in range(33))
"""TensorFlow Serving's bounds, 10 µs times 1.8 to the power of 0 … 32.

Source: ``monitoring::Buckets::Exponential(10, 1.8, 33)`` in its ``servables/tensorflow/util.cc``.
"""

BOUNDS_S = tuple(sorted({*SHOWN_BOUNDS_S, *TFS_BOUNDS_S}))
"""The bounds of both, so that each of their histograms is exact."""

BATCH_BOUNDS = tuple(2**number for number in range(11))
"""Upper bounds of the rows that ran as one."""

_HTTP = (200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 415, 422, 429, 431, 499)
_HTTP_SERVER_ERRORS = (500, 501, 502, 503, 504)
_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
STATUSES: tuple[int | str, ...] = (*_HTTP, *_HTTP_SERVER_ERRORS, *_GRPC, "other")
REASONS = (*(kind.__name__ for kind in leaves()), "other")
_GOOD = (200, 202, 204, "OK")

# One more bin than bounds: what is above all of them.
_BATCH_BINS = len(BATCH_BOUNDS) + 1
_TIME_BINS = len(BOUNDS_S) + 1

REQUESTS = Layout(
    statuses=len(STATUSES),
    reasons=len(REASONS),
    received_bytes=1,
    sent_bytes=1,
    # Rows of runs that were not queued. A run of one row is counted in the first bin of `runs_by_rows` alone,
    # which saves the most frequent kind of request an addition.
    unqueued_rows=1,
    queued_rows=1,
    # Runs that were not queued, each counted once however many requests it answered.
    run_s=1,
    runs_by_rows=_BATCH_BINS,
    # Time in runs that others stand for: the runs of the queue, and those that requests shared without it.
    shared_run_s=1,
    # Latency by outcome, and time in the queue: bins, then the sum.
    good_bins=_TIME_BINS,
    good_sum_s=1,
    bad_bins=_TIME_BINS,
    bad_sum_s=1,
    queue_bins=_TIME_BINS,
    queue_sum_s=1,
)
"""The counts of the requests for one model version over one protocol."""

RUNS = Layout(run_s=1, rows=1, by_rows=_BATCH_BINS)
"""The counts of the runs that came out of the queue of one model version."""

_STATUS_AT = {status: at for at, status in enumerate(STATUSES, REQUESTS.start("statuses"))}
_OTHER_STATUS = _STATUS_AT["other"]
_REASON_AT = {reason: at for at, reason in enumerate(REASONS, REQUESTS.start("reasons"))}
_OTHER_REASON = _REASON_AT["other"]
_RECEIVED_BYTES = REQUESTS.start("received_bytes")
_SENT_BYTES = REQUESTS.start("sent_bytes")
_UNQUEUED_ROWS = REQUESTS.start("unqueued_rows")
_QUEUED_ROWS = REQUESTS.start("queued_rows")
_RUN_S = REQUESTS.start("run_s")
_RUNS_BY_ROWS = REQUESTS.start("runs_by_rows")
_SHARED_RUN_S = REQUESTS.start("shared_run_s")
_GOOD_BINS, _GOOD_SUM_S = REQUESTS.start("good_bins"), REQUESTS.start("good_sum_s")
_BAD_BINS, _BAD_SUM_S = REQUESTS.start("bad_bins"), REQUESTS.start("bad_sum_s")
_QUEUE_BINS, _QUEUE_SUM_S = REQUESTS.start("queue_bins"), REQUESTS.start("queue_sum_s")

_RUNS_RUN_S, _RUNS_ROWS, _RUNS_BY_ROWS_AT = RUNS.start("run_s"), RUNS.start("rows"), RUNS.start("by_rows")


class Histogram:
    """Times in seconds, in the bins of `BOUNDS_S`."""

    def __init__(self, bins: Sequence[float], total_s: float) -> None:
        self._bins = bins
        self.total_s = total_s

    @property
    def count(self) -> int:
        """How many times were observed."""
        return int(sum(self._bins))

    def cumulative(self, bounds: Iterable[float]) -> list[float]:
        """Count the times that are not above each of `bounds`; each must be one of `BOUNDS_S`."""
        running = list(accumulate(self._bins))
        return [running[bisect_left(BOUNDS_S, bound)] for bound in bounds]

    def buckets(self, bounds: Sequence[float], unit_s: float = 1.0) -> list[tuple[str, float]]:
        """Return cumulative counts by upper bound in `unit_s`, as Prometheus has them."""
        counts = zip(bounds, self.cumulative(bounds), strict=True)
        return [*((f"{bound / unit_s:g}", count) for bound, count in counts), ("+Inf", float(self.count))]


class RequestCounts:
    """What happened to one model version over one protocol. Sizes in bytes, durations in seconds."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    @property
    def statuses(self) -> dict[int | str, int]:
        """Requests by HTTP status or name of the gRPC status."""
        # A slice is a list of its own, or a view: reading costs writers nothing.
        counts = self._counters[REQUESTS.part("statuses")]
        return {status: int(count) for status, count in zip(STATUSES, counts, strict=True) if count}

    @property
    def errors(self) -> dict[str, int]:
        """Requests refused or failed, by the name of the error."""
        counts = self._counters[REQUESTS.part("reasons")]
        return {reason: int(count) for reason, count in zip(REASONS, counts, strict=True) if count}

    @property
    def rows(self) -> int:
        """Rows predicted."""
        return self.unqueued_rows + int(self._counters[_QUEUED_ROWS])

    @property
    def unqueued_rows(self) -> int:
        """Rows predicted without a queue."""
        return int(self._counters[_RUNS_BY_ROWS] + self._counters[_UNQUEUED_ROWS])

    @property
    def received_bytes(self) -> int:
        """Bytes of request bodies."""
        return int(self._counters[_RECEIVED_BYTES])

    @property
    def sent_bytes(self) -> int:
        """Bytes of response bodies."""
        return int(self._counters[_SENT_BYTES])

    @property
    def run_s(self) -> float:
        """Seconds of the runs that were not queued, each counted once."""
        return float(self._counters[_RUN_S])

    @property
    def in_model_s(self) -> float:
        """Seconds that requests spent in the model, each the whole of a run that it shared with others."""
        return float(self._counters[_RUN_S] + self._counters[_SHARED_RUN_S])

    @property
    def runs_by_rows(self) -> list[int]:
        """The runs that were not queued, by the bins of `BATCH_BOUNDS`."""
        return [int(count) for count in self._counters[REQUESTS.part("runs_by_rows")]]

    @property
    def good(self) -> Histogram:
        """Latency of the requests that were answered well."""
        return self._histogram("good_bins", _GOOD_SUM_S)

    @property
    def bad(self) -> Histogram:
        """Latency of the requests that were refused or failed."""
        return self._histogram("bad_bins", _BAD_SUM_S)

    @property
    def queued(self) -> Histogram:
        """Time in the queue of the requests that went through it."""
        return self._histogram("queue_bins", _QUEUE_SUM_S)

    def _histogram(self, bins: str, total_s: int) -> Histogram:
        return Histogram(self._counters[REQUESTS.part(bins)], self._counters[total_s])


class RequestCounters(RequestCounts):
    """The same counts, where they are added to."""

    __slots__ = ()

    def count_answer(
        self, status: int | str, took_s: float, job: Job | None, received_bytes: int, sent_bytes: int
    ) -> None:
        """Count one answer, good or bad."""
        counters = self._counters
        counters[_STATUS_AT.get(status, _OTHER_STATUS)] += 1
        counters[_RECEIVED_BYTES] += received_bytes
        counters[_SENT_BYTES] += sent_bytes
        if status not in _GOOD:
            counters[_BAD_BINS + bisect_left(BOUNDS_S, took_s)] += 1
            counters[_BAD_SUM_S] += took_s
            return
        counters[_GOOD_BINS + bisect_left(BOUNDS_S, took_s)] += 1
        counters[_GOOD_SUM_S] += took_s
        if job is None:
            return
        rows, batch = job.rows, job.batch
        if batch is not None:
            self._count_batch(job, batch)
        elif rows == 1:  # The most frequent request; its rows follow from its runs.
            counters[_RUNS_BY_ROWS] += 1
            counters[_RUN_S] += job.run_s
        else:
            counters[_UNQUEUED_ROWS] += rows
            counters[_RUNS_BY_ROWS + bisect_left(BATCH_BOUNDS, rows)] += 1
            counters[_RUN_S] += job.run_s

    def count_unread(self, status: int) -> None:
        """Count what was refused before it could be read as a request: it has no latency."""
        self._counters[_STATUS_AT.get(status, _OTHER_STATUS)] += 1

    def count_error(self, error: LadingError) -> None:
        """Count why a request was refused or failed; `count_answer` counts its answer as well."""
        self._counters[_REASON_AT.get(type(error).__name__, _OTHER_REASON)] += 1

    def _count_batch(self, job: Job, batch: BatchRecord) -> None:
        counters = self._counters
        if batch.queued_s is not None:
            # The batcher counts the run itself, in `RunCounters`.
            counters[_QUEUED_ROWS] += job.rows
            counters[_SHARED_RUN_S] += job.run_s
            counters[_QUEUE_BINS + bisect_left(BOUNDS_S, batch.queued_s)] += 1
            counters[_QUEUE_SUM_S] += batch.queued_s
            return
        counters[_UNQUEUED_ROWS] += job.rows
        if batch.leads_run:
            counters[_RUNS_BY_ROWS + bisect_left(BATCH_BOUNDS, batch.rows)] += 1
            counters[_RUN_S] += job.run_s
        else:
            counters[_SHARED_RUN_S] += job.run_s


class RunCounters:
    """The runs of one model version that came out of its queue, merged or not."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def count_run(self, rows: int, took_s: float) -> None:
        """Count one run."""
        counters = self._counters
        counters[_RUNS_RUN_S] += took_s
        counters[_RUNS_ROWS] += rows
        counters[_RUNS_BY_ROWS_AT + bisect_left(BATCH_BOUNDS, rows)] += 1

    @property
    def run_s(self) -> float:
        """Seconds that the runs took."""
        return float(self._counters[_RUNS_RUN_S])

    @property
    def rows(self) -> int:
        """Rows that the runs had."""
        return int(self._counters[_RUNS_ROWS])

    @property
    def by_rows(self) -> list[int]:
        """The runs, by the bins of `BATCH_BOUNDS`."""
        return [int(count) for count in self._counters[RUNS.part("by_rows")]]
