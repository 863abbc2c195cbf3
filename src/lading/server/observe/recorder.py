"""Collects answered requests and shows them, many at a time, to what looks at rows: checks, drift, the log.

The request path appends to a queue. A few hundred requests later, or a tenth of a second, whoever appended
last turns the queue into arrays of all their rows, because numpy costs as much for one row as for hundreds.
Requests that are large by themselves are left to a thread. Decides nothing and writes nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lading.errors import LadingError
from lading.server.inference.job import Job
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


@dataclass(frozen=True, slots=True)
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
    def all_rows(self) -> int:
        """Return how many rows all requests have together."""
        return sum(self.rows)


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
        records = self._records
        records.append((exchange, job, status, took_s, error))
        if len(records) >= CHUNK_REQUESTS:
            self.flush()

    def flush(self) -> None:
        """Show what has been collected; called ten times a second as well, and in any thread."""
        if not self._records or not self._flushing.acquire(blocking=False):
            return  # Another thread shows it.
        try:
            records = self._records
            # Others may append meanwhile: only what is there now is taken, one by one.
            self._show([records.popleft() for _ in range(len(records))])
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
                self._show([record])
            del record  # Its arrays are not kept until the next one comes.

    def _show(self, records: list[_Record]) -> None:
        for chunk in self._chunks(records):
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

    def _chunks(self, records: list[_Record]) -> Iterator[AnswerChunk]:
        groups: dict[Any, list[_Record]] = {}
        for record in records:
            job = record[1]
            # By what can be one array: a version, the same outputs, and failed ones apart.
            key = (job.served, job.outputs, record[4] is None and type(job.outcome) is dict)
            groups.setdefault(key, []).append(record)
        # `began` of an exchange is on the clock of `perf_counter`.
        to_unix = time.time() - time.perf_counter()
        for (served, _, answered), alike in groups.items():
            if served.signature.batched and len(alike) > 1:
                try:
                    yield self._chunk(served, alike, to_unix, answered=answered)
                except ValueError:  # Rows of several sizes, which are no one array.
                    pass
                else:
                    continue
            for record in alike:
                yield self._chunk(served, [record], to_unix, answered=answered)

    def _chunk(
        self, served: ServedVersion, records: list[_Record], to_unix: float, *, answered: bool
    ) -> AnswerChunk:
        jobs = [record[1] for record in records]
        traffic = self._traffic(served.name)
        side = ""
        if traffic is not None:
            side = "candidate" if served.version == traffic.candidate else "live"
        return AnswerChunk(
            served=served,
            release=traffic.release if traffic is not None else 0,
            side=side,
            ids=[record[0].request_id for record in records],
            rows=[job.rows for job in jobs],
            statuses=[record[2] for record in records],
            errors=["" if record[4] is None else type(record[4]).__name__ for record in records],
            latencies_s=[record[3] for record in records],
            ended_at=[record[0].began + record[3] + to_unix for record in records],
            warnings=[record[0].warnings for record in records],
            inputs=_stacked([job.inputs for job in jobs]),
            outputs=_stacked([job.outcome for job in jobs]) if answered else {},  # type: ignore[misc]  # dicts
        )


def _stacked(arrays: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """Return the rows of all requests by name; raises `ValueError` if they are no one array."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    return {name: np.concatenate([each[name] for each in arrays]) for name in first}
