"""Collects runs and answered requests and shows them, many at a time, to what looks at rows.

Checks and drift look at runs: requests that ran as one are one array already. The log looks at requests,
because each record of it has an id. Either is appended to a queue on the path of the request; a few hundred
rows later, or a tenth of a second, the thread that came last turns the queue into arrays of all its rows:
numpy costs as much for one row as for hundreds. What is large by itself is left to a thread. Decides nothing
and writes nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lading.errors import LadingError
from lading.server.inference.merging import run_of
from lading.server.inference.request_memory import array_bytes
from lading.server.inference.run import Run
from lading.server.inference.version import ServedVersion
from lading.server.observe.chunks import AnswerChunk, RowChunk, Side, stacked
from lading.signature import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lading.server.inference.traffic import Traffic

log = logging.getLogger("lading.server")

_Chunk = TypeVar("_Chunk", RowChunk, AnswerChunk)
_Item = TypeVar("_Item")

CHUNK_REQUESTS = 1024
CHUNK_ROWS = 1024
_CHUNK_RUNS = 256
_MOST_LARGE = 8
"""How many large requests, and large runs, wait for the thread at most: they are held in memory meanwhile."""
_LARGE_RUN_BYTES = 1 << 16

_FIELDS, _ROWS, _RUN, _ASKED = 10, 1, 7, 9
"""How many items a record has: request id, rows, status, error, seconds, when it began, warnings, the run of
its rows, the first of them in it, and the outputs that were asked for.

Records are flat in one list. Neither a request nor its job is kept: hundreds of them would fill the
processor's caches, and cost each request more than everything else that is done here.
"""


RowConsumer = Callable[[RowChunk], None]
"""Looks at rows that ran, quickly: small chunks come in the thread that answers requests."""
AnswerConsumer = Callable[[AnswerChunk], None]
"""Looks at answered requests, quickly, as well."""


class Recorder:
    """Collects what one process runs for `row_consumers`, and what it answers for `answer_consumers`.

    `traffic` returns the release of a model, or None. ``on_unseen`` and ``on_unlogged`` are called, under a
    lock, with large runs and requests that nothing looked at because too many waited: their version and rows.
    """

    def __init__(
        self,
        row_consumers: Sequence[RowConsumer] = (),
        answer_consumers: Sequence[AnswerConsumer] = (),
        traffic: Callable[[str], Traffic | None] = lambda _name: None,
    ) -> None:
        self._row_consumers, self._answer_consumers = tuple(row_consumers), tuple(answer_consumers)
        self._traffic = traffic
        self._runs: deque[Run] = deque()
        self._waiting_rows = 0
        self._answered: list[Any] = []
        self._failed: list[Any] = []
        self._flushing, self._starting = threading.Lock(), threading.Lock()
        self._large: queue.Queue[list[Any] | Run | None] = queue.Queue(_MOST_LARGE)
        self._thread: threading.Thread | None = None
        self._failures: set[str] = set()
        self.on_unseen: Callable[[ServedVersion, int], None] = _ignore
        self.on_unlogged: Callable[[ServedVersion, int], None] = _ignore

    @property
    def wants_runs(self) -> bool:
        """Return whether anything looks at rows that ran."""
        return bool(self._row_consumers)

    @property
    def wants_answers(self) -> bool:
        """Return whether anything looks at answered requests."""
        return bool(self._answer_consumers)

    def show_run(self, run: Run) -> None:
        """Take a run for clients; this is on the path of every request."""
        rows = self._waiting_rows + run.rows
        # By both: one small row may have an image for an answer, and hundreds of those would be kept.
        if array_bytes(run.inputs) + array_bytes(run.outputs or {}) > _LARGE_RUN_BYTES:
            self._add_large(run)
            return
        # Threads may add at once: what a sum loses comes with the next flush.
        self._waiting_rows = rows
        self._runs.append(run)
        if rows >= CHUNK_ROWS or len(self._runs) >= _CHUNK_RUNS:
            self.flush()

    def observe(self, exchange: Any, status: int | str, took_s: float, error: LadingError | None) -> None:
        """Take an exchange that is over; this is on the path of every request."""
        job = exchange.job
        if job is None:  # It was refused before there were rows.
            return
        batch = job.batch
        # Outcomes are nearly always outputs. Those of clients that have gone are no error, and none either.
        if type(job.outcome) is not dict or error is not None:
            records, run, first_row = self._failed, Run(job.served, job.inputs, None, job.rows), 0
        elif batch is None or batch.run is None:
            records, run, first_row = self._answered, run_of(job), 0
        else:
            records, run, first_row = self._answered, batch.run, job.first_row
        record = (
            exchange.request_id,
            job.rows,
            status,
            "" if error is None else type(error).__name__,
            took_s,
            exchange.began,
            exchange.warnings,
            run,
            first_row,
            job.outputs,
        )
        if exchange.reservation is not None:
            self._add_large(list(record))
            return
        records += record
        if len(records) >= CHUNK_REQUESTS * _FIELDS:
            self.flush()

    def flush(self) -> None:
        """Show what has been collected; called ten times a second as well, and in any thread."""
        if not (self._runs or self._answered or self._failed) or not self._flushing.acquire(blocking=False):
            return  # Another thread shows it.
        try:
            self._waiting_rows = 0
            # Others may append meanwhile: what has come by now is taken, one by one.
            if self._runs:
                self._show_runs(_taken(self._runs))
            for records in (self._answered, self._failed):
                if records:
                    count = len(records)
                    taken = records[:count]
                    del records[:count]
                    self._show_answers(taken)
        finally:
            self._flushing.release()

    def close(self) -> None:
        """Show what is left, and end the thread."""
        self.flush()
        if self._thread is not None:
            self._large.put(None)
            self._thread.join()

    def _add_large(self, item: list[Any] | Run) -> None:
        if self._thread is None:
            self._start()
        try:
            self._large.put_nowait(item)
        except queue.Full:
            with self._starting:
                if isinstance(item, Run):
                    self.on_unseen(item.served, item.rows)
                else:
                    self.on_unlogged(item[_RUN].served, item[_ROWS])

    def _start(self) -> None:
        with self._starting:  # Runs come from several threads.
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while (item := self._large.get()) is not None:
            with self._flushing:  # Consumers are called by one thread at a time.
                if isinstance(item, Run):
                    self._show_runs([item])
                else:
                    self._show_answers(item)
            del item  # Its arrays are not kept until the next one comes.

    def _show_runs(self, runs: list[Run]) -> None:
        for chunk in self._row_chunks(runs):
            self._show(chunk, self._row_consumers)

    def _show_answers(self, records: list[Any]) -> None:
        for chunk in self._answer_chunks(records):
            self._show(chunk, self._answer_consumers)

    def _show(self, chunk: _Chunk, consumers: tuple[Callable[[_Chunk], None], ...]) -> None:
        for consumer in consumers:
            try:
                consumer(chunk)
            except Exception as failure:
                # The request is answered, and the next consumer has nothing to do with it. Once for each
                # cause: what fails for one chunk fails for the next.
                cause = f"{type(failure).__name__}: {failure}"
                if cause not in self._failures and len(self._failures) < 100:
                    self._failures.add(cause)
                    log.exception("answers of %s are not recorded", chunk.served.label)

    def _release(self, served: ServedVersion) -> tuple[int, Side]:
        traffic = self._traffic(served.name)
        if traffic is None:
            return 0, ""
        return traffic.release, "candidate" if served.version == traffic.candidate else "live"

    def _row_chunks(self, runs: list[Run]) -> Iterator[RowChunk]:
        groups: dict[Any, list[Run]] = {}
        for run in runs:
            # Clients may ask for some outputs only.
            outputs = None if run.outputs is None else tuple(run.outputs)
            groups.setdefault((run.served, outputs), []).append(run)
        for alike in groups.values():
            served, (release, _side) = alike[0].served, self._release(alike[0].served)
            arrays = _joined(alike) if served.signature.batched or len(alike) == 1 else None
            if arrays is not None:
                yield RowChunk(served, release, sum(run.rows for run in alike), *arrays)
            else:
                for run in alike:
                    yield RowChunk(served, release, run.rows, run.inputs, run.outputs or {})

    def _answer_chunks(self, records: list[Any]) -> Iterator[AnswerChunk]:
        for columns in _alike([records[at::_FIELDS] for at in range(_FIELDS)]):
            served = columns[_RUN][0].served
            chunk = _answer_chunk(columns, *self._release(served))
            if chunk is not None:
                yield chunk
            else:
                for at in range(len(columns[_RUN])):
                    alone = _answer_chunk([[column[at]] for column in columns], *self._release(served))
                    assert alone is not None  # One request is always one array.
                    yield alone


def _ignore(_served: ServedVersion, _rows: int) -> None:
    """Do nothing: what is called where nobody counts."""


def _taken(items: deque[_Item]) -> list[_Item]:
    return [items.popleft() for _ in range(len(items))]


def _joined(runs: list[Run]) -> tuple[Mapping[str, Array], Mapping[str, Array]] | None:
    """Return inputs and outputs of all runs; None if their rows differ in size."""
    outputs = [run.outputs for run in runs if run.outputs is not None]
    try:
        return stacked([run.inputs for run in runs]), stacked(outputs) if outputs else {}
    except ValueError:
        return None


def _alike(columns: list[list[Any]]) -> Iterator[list[list[Any]]]:
    """Divide records by version, by the outputs that were asked for, and by whether they have outputs."""
    runs, asked = columns[_RUN], columns[_ASKED]
    served, outputs, failed = runs[0].served, asked[0], runs[0].outputs is None
    # The usual case: clients of one model ask alike.
    if asked.count(outputs) == len(asked) and all(
        run.served is served and (run.outputs is None) is failed for run in runs
    ):
        yield columns
        return
    groups: dict[Any, list[int]] = {}
    for at, (run, names) in enumerate(zip(runs, asked, strict=True)):
        groups.setdefault((run.served, names, run.outputs is None), []).append(at)
    for places in groups.values():
        yield [[column[at] for at in places] for column in columns]


def _answer_chunk(columns: list[list[Any]], release: int, side: Side) -> AnswerChunk | None:
    """Return records that are alike as a chunk; None if their rows are no one array."""
    ids, rows, statuses, errors, latencies_s, began, warnings, runs, first_rows, asked = columns
    first: Run = runs[0]
    if not first.served.signature.batched:
        if len(runs) > 1:
            return None
        inputs, outputs = first.inputs, _asked(first, asked[0])
    else:
        pieces = list(_pieces(runs, first_rows, rows))
        try:
            inputs = stacked([_rows_of(run.inputs, run, rows) for run, rows in pieces])
            outputs = stacked([_rows_of(_asked(run, asked[0]), run, rows) for run, rows in pieces])
        except ValueError:
            return None
    # `began` is on the clock of `perf_counter`.
    to_unix = time.time() - time.perf_counter()
    return AnswerChunk(
        served=first.served,
        release=release,
        side=side,
        ids=ids,
        rows=rows,
        statuses=statuses,
        errors=errors,
        latencies_s=latencies_s,
        ended_at=[start + seconds + to_unix for start, seconds in zip(began, latencies_s, strict=True)],
        warnings=warnings,
        inputs=inputs,
        outputs=outputs,
    )


def _asked(run: Run, names: tuple[str, ...] | None) -> Mapping[str, Array]:
    """Return the outputs of a run that some of its requests have asked for."""
    if run.outputs is None:
        return {}
    return run.outputs if names is None else {name: run.outputs[name] for name in names}


def _rows_of(arrays: Mapping[str, Array], run: Run, rows: slice) -> Mapping[str, Array]:
    if rows.stop - rows.start == run.rows:
        return arrays
    return {name: array[rows] for name, array in arrays.items()}


def _pieces(runs: list[Run], first_rows: list[int], rows: list[int]) -> Iterator[tuple[Run, slice]]:
    """Iterate over the rows of all requests in few pieces: the requests of a run follow each other."""
    run, start, end = runs[0], first_rows[0], first_rows[0]
    for its_run, first_row, count in zip(runs, first_rows, rows, strict=True):
        if its_run is not run or first_row != end:
            yield run, slice(start, end)
            run, start = its_run, first_row
        end = first_row + count
    yield run, slice(start, end)
