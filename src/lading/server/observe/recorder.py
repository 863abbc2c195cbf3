"""Collects answered requests and shows them, many at a time, to what looks at rows: checks, drift, the log.

The request path appends to a queue. A few hundred requests later, or a tenth of a second, the request that
came last turns the queue into arrays of all their rows: numpy costs as much for one row as for hundreds.
Requests that are large by themselves are left to a thread. Decides nothing and writes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lading.errors import LadingError
from lading.server.inference.job import Job
from lading.server.inference.merging import are_compatible
from lading.server.inference.version import ServedVersion
from lading.signature import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lading.server.inference.traffic import Traffic

log = logging.getLogger("lading.server")

CHUNK_REQUESTS = 256
_MOST_LARGE = 8
"""How many large requests wait for the thread at most: they are held in memory meanwhile."""

Side = str
"""``live`` or ``candidate`` by the release of the model; empty where it has none."""

_Record = tuple[Any, Job, "int | str", float, "LadingError | None"]
"""An exchange that is over, its job, its status, its seconds, and its error."""


@dataclass(frozen=True, eq=False)
class AnswerChunk:
    """Answered requests of one version, in the order of their answers, with their rows as arrays.

    The lists have an entry for each request: its id, its rows, its status on the wire, the name of its error
    (empty for none), its seconds, the Unix time of its answer, and the warnings that it was answered with.
    ``inputs`` and ``outputs`` have the rows of all of them: ``[sum(rows), ...]``; ``outputs`` is empty if the
    requests failed. A model without a batch dimension has one request in a chunk, and arrays as they are.
    ``release`` is 0 and ``side`` empty where the model has no release.
    """

    served: ServedVersion
    release: int
    side: Side
    ids: list[bytes]
    rows: list[int]
    statuses: list[int | str]
    errors: list[str]
    latencies_s: list[float]
    ended_at: list[float]
    warnings: list[tuple[str, ...]]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @property
    def has_failed(self) -> bool:
        """Return whether the requests were not answered with outputs."""
        return not self.outputs

    @property
    def all_rows(self) -> int:
        """Return how many rows all requests have together."""
        return sum(self.rows)

    def take(
        self, count: int, random: np.random.Generator
    ) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """Return inputs and outputs of `count` of the rows, drawn at random."""
        at = random.choice(self.all_rows, count, replace=False)
        inputs = {name: array[at] for name, array in self.inputs.items()}
        return inputs, {name: array[at] for name, array in self.outputs.items()}


class _RecordedChunk(AnswerChunk):
    """A chunk of requests as they were recorded: what no consumer asks for is never made."""

    def __init__(  # the dataclass's own would need everything at once
        self, records: list[_Record], release: int, side: Side, *, answered: bool
    ) -> None:
        jobs = [record[1] for record in records]
        values = {
            "served": jobs[0].served,
            "release": release,
            "side": side,
            "rows": [job.rows for job in jobs],
            "_records": records,
            "_jobs": jobs,
            "_answered": answered,
        }
        self.__dict__.update(values)  # A frozen dataclass sets no attribute.

    _records: list[_Record]
    _jobs: list[Job]
    _answered: bool

    @property
    def has_failed(self) -> bool:
        """Return whether the requests were not answered with outputs."""
        return not self._answered

    @cached_property
    def ids(self) -> list[bytes]:  # as those below, a field that is made on demand
        return [record[0].request_id for record in self._records]

    @cached_property
    def statuses(self) -> list[int | str]:
        return [record[2] for record in self._records]

    @cached_property
    def errors(self) -> list[str]:
        if self._answered:
            return [""] * len(self._records)
        return ["" if record[4] is None else type(record[4]).__name__ for record in self._records]

    @cached_property
    def latencies_s(self) -> list[float]:
        return [record[3] for record in self._records]

    @cached_property
    def ended_at(self) -> list[float]:
        # `began` of an exchange is on the clock of `perf_counter`.
        to_unix = time.time() - time.perf_counter()
        return [record[0].began + record[3] + to_unix for record in self._records]

    @cached_property
    def warnings(self) -> list[tuple[str, ...]]:
        return [record[0].warnings for record in self._records]

    @cached_property
    def inputs(self) -> Mapping[str, Array]:
        return _stacked([job.inputs for job in self._jobs])

    @cached_property
    def outputs(self) -> Mapping[str, Array]:
        return _stacked([job.outcome for job in self._jobs]) if self._answered else {}  # type: ignore[misc]

    def take(
        self, count: int, random: np.random.Generator
    ) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """Return inputs and outputs of `count` of the rows, drawn at random."""
        if len(self._jobs) < self.all_rows or not self._answered:
            return super().take(count, random)
        # Of requests of one row each, only those that are drawn are stacked.
        jobs = [self._jobs[at] for at in random.choice(len(self._jobs), count, replace=False).tolist()]
        outputs = _stacked([job.outcome for job in jobs])
        return _stacked([job.inputs for job in jobs]), outputs


Consumer = Callable[[AnswerChunk], None]
"""Looks at a chunk, quickly: small ones come in the thread that answers requests."""


class Recorder:
    """Collects the answered requests of one process for `consumers`.

    `traffic` returns the release of a model, or None. ``dropped`` counts large requests that nobody looked
    at, because too many waited.
    """

    def __init__(
        self,
        consumers: Sequence[Consumer],
        traffic: Callable[[str], Traffic | None] = lambda _name: None,
    ) -> None:
        self._consumers = tuple(consumers)
        self._traffic = traffic
        self._records: deque[_Record] = deque()
        self._failed: deque[_Record] = deque()
        self._flushing = threading.Lock()
        self._large: queue.Queue[_Record | None] = queue.Queue(_MOST_LARGE)
        self._thread: threading.Thread | None = None
        self._failures: set[str] = set()
        self.dropped = 0

    @property
    def is_needed(self) -> bool:
        """Return whether anything looks at what is collected."""
        return bool(self._consumers)

    def observe(self, exchange: Any, status: int | str, took_s: float, error: LadingError | None) -> None:
        """Take an exchange that is over; this is on the path of every request."""
        job = exchange.job
        if job is None:  # It was refused before there were rows.
            return
        if exchange.reservation is not None:
            self._add_large((exchange, job, status, took_s, error))
            return
        # Outcomes are nearly always outputs. Those of clients that have gone are no error, and none either.
        records = self._records if type(job.outcome) is dict and error is None else self._failed
        records.append((exchange, job, status, took_s, error))
        if len(records) >= CHUNK_REQUESTS:
            self.flush()

    def flush(self) -> None:
        """Show what has been collected; called ten times a second as well, and in any thread."""
        if not (self._records or self._failed) or not self._flushing.acquire(blocking=False):
            return  # Another thread shows it.
        try:
            for records, answered in ((self._records, True), (self._failed, False)):
                # Others may append meanwhile: what has come by now is taken, one by one.
                if records:
                    self._show([records.popleft() for _ in range(len(records))], answered=answered)
        finally:
            self._flushing.release()

    def close(self) -> None:
        """Show what is left, and end the thread."""
        self.flush()
        if self._thread is not None:
            self._large.put(None)
            self._thread.join()

    def _add_large(self, record: _Record) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
            self._thread.start()
        try:
            self._large.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _work(self) -> None:
        while (record := self._large.get()) is not None:
            with self._flushing:  # Consumers are called by one thread at a time.
                self._show([record], answered=type(record[1].outcome) is dict and record[4] is None)
            del record  # Its arrays are not kept until the next one comes.

    def _show(self, records: list[_Record], *, answered: bool) -> None:
        for chunk in self._chunks(records, answered=answered):
            for consumer in self._consumers:
                try:
                    consumer(chunk)
                except Exception as failure:
                    # The request is answered, and the next consumer has nothing to do with it. Once for each
                    # cause: what fails for one chunk fails for the next.
                    cause = f"{type(failure).__name__}: {failure}"
                    if cause not in self._failures and len(self._failures) < 100:
                        self._failures.add(cause)
                        log.exception("answers of %s are not recorded", chunk.served.label)

    def _chunks(self, records: list[_Record], *, answered: bool) -> Iterator[AnswerChunk]:
        for alike in _alike(records):
            served = alike[0][1].served
            traffic = self._traffic(served.name)
            release, side = 0, ""
            if traffic is not None:
                release = traffic.release
                side = "candidate" if served.version == traffic.candidate else "live"
            fits = len(alike) == 1 or (served.signature.batched and _fit_together(served, alike))
            for group in [alike] if fits else [[record] for record in alike]:
                yield _RecordedChunk(group, release, side, answered=answered)


def _alike(records: list[_Record]) -> list[list[_Record]]:
    """Return the records by version and by the outputs that were asked for."""
    first = records[0][1]
    served, outputs = first.served, first.outputs
    for record in records:
        job = record[1]
        if job.served is not served or job.outputs is not outputs:
            break
    else:
        return [records]  # The usual case: clients of one model ask alike.
    groups: dict[object, list[_Record]] = {}
    for record in records:
        job = record[1]
        groups.setdefault((job.served, job.outputs), []).append(record)
    return list(groups.values())


def _fit_together(served: ServedVersion, records: list[_Record]) -> bool:
    """Return whether the rows of all requests have one size, so that they can be one array."""
    if served.signature.fixed_rows:
        return True
    first = records[0][1]
    return all(are_compatible(first, record[1]) for record in records)


def _stacked(arrays: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """Return the rows of all requests by name; raises `ValueError` if they are no one array."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    return {name: _joined([each[name] for each in arrays]) for name in first}


def _joined(arrays: list[Array]) -> Array:
    """Return the rows of arrays that differ in nothing but their number of rows."""
    first = arrays[0]
    if not first.dtype.hasobject and first.ndim:
        # Of many small arrays, a third of what `concatenate` takes.
        with contextlib.suppress(ValueError, TypeError):  # What is not contiguous has no one buffer.
            joined = np.frombuffer(bytearray().join(arrays), first.dtype)  # type: ignore[arg-type]  # buffers
            return joined.reshape(-1, *first.shape[1:])
    return np.concatenate(arrays)
