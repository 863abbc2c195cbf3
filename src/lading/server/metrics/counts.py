"""What is counted of requests and runs, where it lies in a block, and how it is added. Shows nothing.

One thread writes a block at a time: the loop's for REST, whoever holds the lock for gRPC, the batcher's
for runs. Adding costs well under a microsecond, which is why the cells are counted out by hand.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from lading.errors import LadingError, leaves
from lading.server.inference.job import BatchRecord, Job
from lading.server.metrics.shared_memory import Block

SHOWN_BOUNDS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0
)  # fmt: skip
"""Upper bounds of the latency histograms on the page."""

TFS_BOUNDS_S = tuple(10e-6 * 1.8**number for number in range(33))
"""TensorFlow Serving's, 10 µs times 1.8 to the power of 0 … 32."""

BOUNDS_S = tuple(sorted({*SHOWN_BOUNDS_S, *TFS_BOUNDS_S}))
"""Every bound that anybody reads, so that all their histograms are exact."""

BATCH_BOUNDS = tuple(2**number for number in range(11))
"""Upper bounds of the rows that ran as one."""

_HTTP = (200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 415, 422, 429, 431, 499)
_HTTP_BROKEN = (500, 501, 502, 503, 504)
_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
STATUSES: tuple[int | str, ...] = (*_HTTP, *_HTTP_BROKEN, *_GRPC, "other")
REASONS = (*(kind.__name__ for kind in leaves()), "other")
_GOOD = (200, 202, 204, "OK")

_STATUS_AT = {status: at for at, status in enumerate(STATUSES)}
_STATUS_OTHER = len(STATUSES) - 1
_REASONS = len(STATUSES)
_REASON_AT = {reason: _REASONS + at for at, reason in enumerate(REASONS)}
_REASON_OTHER = _REASONS + len(REASONS) - 1
_MORE_ROWS = _REASON_OTHER + 1
_RECEIVED = _MORE_ROWS + 1
_SENT = _MORE_ROWS + 2
_QUEUED_ROWS = _MORE_ROWS + 3
_SHARED_RUN_S = _MORE_ROWS + 4
_RUN_S = _MORE_ROWS + 5
_BATCH = _MORE_ROWS + 6  # Runs by rows; what was above all bounds comes last, here and below.
_HISTOGRAM = len(BOUNDS_S) + 2  # The bins, one above them all, the sum.
_GOOD_S = _BATCH + len(BATCH_BOUNDS) + 1
_BAD_S = _GOOD_S + _HISTOGRAM
_QUEUE_S = _BAD_S + _HISTOGRAM
_GOOD_SUM, _BAD_SUM, _QUEUE_SUM = (begin + _HISTOGRAM - 1 for begin in (_GOOD_S, _BAD_S, _QUEUE_S))
REQUESTS_SIZE = _QUEUE_S + _HISTOGRAM

RUNS_SIZE = 2 + len(BATCH_BOUNDS) + 1
"""Size of a block of merged runs: seconds, rows, then runs by rows."""


class Histogram:
    """Times in seconds, in the bins of `BOUNDS_S`."""

    def __init__(self, bins: Sequence[float], total_s: float) -> None:
        self._bins = bins
        self.total_s = total_s

    @property
    def count(self) -> int:
        """How many were observed."""
        return int(sum(self._bins))

    def below(self, bounds: Iterable[float]) -> list[float]:
        """Count what is not above each of `bounds`; each must be one of `BOUNDS_S`."""
        running = list(accumulate(self._bins))
        return [running[bisect_left(BOUNDS_S, bound)] for bound in bounds]

    def buckets(self, bounds: Sequence[float], unit_s: float = 1.0) -> list[tuple[str, float]]:
        """Return cumulative counts by upper bound in `unit_s`, as Prometheus has them."""
        counts = zip(bounds, self.below(bounds), strict=True)
        return [*((f"{bound / unit_s:g}", count) for bound, count in counts), ("+Inf", float(self.count))]


class Requests:
    """What happened to one model version over one protocol. Sizes in bytes, durations in seconds."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Block) -> None:
        self._cells = cells

    @property
    def statuses(self) -> dict[int | str, int]:
        """Requests by HTTP status or name of the gRPC status."""
        return {status: int(n) for status, n in zip(STATUSES, self._cells, strict=False) if n}

    @property
    def errors(self) -> dict[str, int]:
        """Requests refused or failed, by the name of the error."""
        counts = self._cells[_REASONS : _REASON_OTHER + 1]
        return {reason: int(n) for reason, n in zip(REASONS, counts, strict=True) if n}

    @property
    def rows(self) -> int:
        """Rows predicted."""
        return self.rows_at_once + int(self._cells[_QUEUED_ROWS])

    @property
    def received_bytes(self) -> int:
        """Bytes of request bodies."""
        return int(self._cells[_RECEIVED])

    @property
    def sent_bytes(self) -> int:
        """Bytes of response bodies."""
        return int(self._cells[_SENT])

    @property
    def rows_at_once(self) -> int:
        """Rows that were predicted without a queue."""
        return int(self._cells[_BATCH] + self._cells[_MORE_ROWS])

    @property
    def run_s(self) -> float:
        """Seconds of the runs that were not queued, because a queue would have cost more."""
        return float(self._cells[_RUN_S])

    @property
    def in_model_s(self) -> float:
        """Seconds that requests spent in the model, each the whole of a run that it shared with others."""
        return float(self._cells[_RUN_S] + self._cells[_SHARED_RUN_S])

    @property
    def runs_by_rows(self) -> list[int]:
        """Those runs, by the bins of `BATCH_BOUNDS`."""
        return [int(n) for n in self._cells[_BATCH:_GOOD_S]]

    @property
    def good(self) -> Histogram:
        """Time from request to answer of those answered well."""
        return self._histogram(_GOOD_S)

    @property
    def bad(self) -> Histogram:
        """Time from request to answer of those refused or failed."""
        return self._histogram(_BAD_S)

    @property
    def queued(self) -> Histogram:
        """Time in the queue of those that went through it."""
        return self._histogram(_QUEUE_S)

    def _histogram(self, at: int) -> Histogram:
        end = at + _HISTOGRAM - 1
        return Histogram(self._cells[at:end], self._cells[end])


class Stats(Requests):
    """The same, with the way to add to it."""

    __slots__ = ()

    def answered(
        self, status: int | str, took_s: float, job: Job | None, received_bytes: int, sent_bytes: int
    ) -> None:
        """Count one answer, good or bad."""
        cells = self._cells
        cells[_STATUS_AT.get(status, _STATUS_OTHER)] += 1
        cells[_RECEIVED] += received_bytes
        cells[_SENT] += sent_bytes
        if status not in _GOOD:
            cells[_BAD_S + bisect_left(BOUNDS_S, took_s)] += 1
            cells[_BAD_SUM] += took_s
            return
        cells[_GOOD_S + bisect_left(BOUNDS_S, took_s)] += 1
        cells[_GOOD_SUM] += took_s
        if job is None:
            return
        batch = job.batch
        if batch is None:
            self._ran_alone(job)
        elif batch.queued_s is None:
            self._ran_together(job, batch)
        else:
            cells[_QUEUED_ROWS] += job.rows
            cells[_SHARED_RUN_S] += job.run_s
            cells[_QUEUE_S + bisect_left(BOUNDS_S, batch.queued_s)] += 1
            cells[_QUEUE_SUM] += batch.queued_s

    def refused(self, status: int) -> None:
        """Count what was no request: it has no latency."""
        self._cells[_STATUS_AT.get(status, _STATUS_OTHER)] += 1

    def _ran_alone(self, job: Job) -> None:
        cells, rows = self._cells, job.rows
        cells[_RUN_S] += job.run_s
        if rows == 1:
            cells[_BATCH] += 1  # A single row needs no adding up.
            return
        cells[_MORE_ROWS] += rows
        cells[_BATCH + bisect_left(BATCH_BOUNDS, rows)] += 1

    def _ran_together(self, job: Job, batch: BatchRecord) -> None:
        cells = self._cells
        cells[_MORE_ROWS] += job.rows
        if batch.leads_run:
            cells[_BATCH + bisect_left(BATCH_BOUNDS, batch.rows)] += 1
            cells[_RUN_S] += job.run_s
        else:
            cells[_SHARED_RUN_S] += job.run_s

    def failed(self, error: LadingError) -> None:
        """Count why a request was refused or failed; its answer is counted by `answered` as well."""
        self._cells[_REASON_AT.get(type(error).__name__, _REASON_OTHER)] += 1


class Runs:
    """The runs of one model version that came out of its queue, merged or not."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Block) -> None:
        self._cells = cells

    def ran(self, rows: int, took_s: float) -> None:
        """Count one run."""
        cells = self._cells
        cells[0] += took_s
        cells[1] += rows
        cells[2 + bisect_left(BATCH_BOUNDS, rows)] += 1

    @property
    def run_s(self) -> float:
        """Seconds they took."""
        return float(self._cells[0])

    @property
    def rows(self) -> int:
        """Rows they had."""
        return int(self._cells[1])

    @property
    def by_rows(self) -> list[int]:
        """How many there were, by the bins of `BATCH_BOUNDS`."""
        return [int(n) for n in self._cells[2:]]
