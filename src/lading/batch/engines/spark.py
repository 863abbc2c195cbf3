"""The engine on Spark: a task of one job for each part, scored in the Python workers of the executors.

Rows never pass through Spark: a worker reads the range of a part and writes it, with the same code as every
engine, so that bytes are the same, and a worker that ends costs the part that it was at, which Spark tries
again. Inputs and the output have to be where every machine sees them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lading.batch.on_spark.refusals import error_of_job
from lading.batch.on_spark.session import is_connect, spark_session
from lading.batch.on_spark.shipping import ship
from lading.batch.on_spark.worker import Answer, Parts, left_refusals
from lading.batch.plan import Task
from lading.batch.scoring import Done
from lading.batch.shipping import shared_mark
from lading.batch.work import Refused, Work
from lading.bundle import Bundle

_POLL_S = 0.05


def score(work: Work, tasks: Sequence[Task], processes: int) -> Generator[Done | Refused]:
    """Score tasks on a session of Spark, at most as many at a time as it has cores.

    The session is that of `spark_session`; `processes` count only if it is started for this machine. Raises
    what that raises, `NotSupported` for executors without lading or without the run's files, and the error
    of a bundle that holds on no machine.
    """
    if not tasks:
        return
    with (
        spark_session(work.address, processes, f"lading batch {work.plan.model}") as session,
        shared_mark(work.parts) as mark,
    ):
        shipped = ship(session, Bundle.open(work.bundle, digest=work.digest))
        plan = msgspec.structs.replace(work.plan, tasks=tuple(tasks))
        run = secrets.token_hex(16) if mark is None else mark.name
        parts = Parts(shipped, plan, work.parts, mark, run, work.python)
        answers = _by_connect(session, parts) if is_connect(session) else _by_context(session, parts)
        reported: set[Path] = set()
        try:
            for answer in answers:
                yield from _new_refusals(parts, reported)
                if answer is not None:
                    yield _done(answer)
        finally:
            answers.close()
            for path in left_refusals(mark):
                path.unlink(missing_ok=True)


def _done(encoded: bytes) -> Done:
    answer = msgspec.json.decode(encoded, type=Answer)
    if answer.refusal is not None:
        raise answer.refusal.error()
    assert answer.done is not None
    return answer.done


def _new_refusals(parts: Parts, reported: set[Path]) -> Iterator[Refused]:
    for path, refused in left_refusals(parts.mark).items():
        if path not in reported:
            reported.add(path)
            yield refused


class _Appended:
    """How the answers of tasks are added up, in Spark's words an ``AccumulatorParam``."""

    def zero(self, value: list[bytes]) -> list[bytes]:  # noqa: ARG002
        return []

    def addInPlace(self, value: list[bytes], more: list[bytes]) -> list[bytes]:  # noqa: N802
        value += more
        return value


def _by_context(session: Any, parts: Parts) -> Generator[bytes | None]:
    """Iterate over answers as they come, with None from time to time while none does."""
    # One job whose results come in while it runs: `collect` returns at the end, when a driver that was
    # killed would have recorded nothing, and `toLocalIterator` runs one task after the other. What a task
    # adds to an accumulator is added once, however often Spark tries the task.
    context = session.sparkContext
    answers = context.accumulator([], _Appended())
    tasks = context.parallelize(range(len(parts.plan.tasks)), len(parts.plan.tasks))
    job = _Job(session, lambda: tasks.foreach(lambda at: answers.add([parts.score(at)])), parts)
    seen = 0
    try:
        while True:
            # Looked at first: after the end of the job no further answer comes.
            has_ended = job.has_ended()
            for answer in answers.value[seen:]:
                seen += 1
                yield answer
            if has_ended:
                break
            yield None
    finally:
        job.end()
        # Spark keeps accumulators for as long as the process lives.
        answers.value = []
    job.check()


class _Job:
    """A job of Spark in a thread of its own, which can be cancelled."""

    def __init__(self, session: Any, act: Callable[[], object], parts: Parts) -> None:
        from pyspark import InheritableThread

        self._context = session.sparkContext
        self._group = parts.run
        self._act = act
        self._title = f"lading batch {parts.plan.model}"
        self._failure: Exception | None = None
        self._thread = InheritableThread(self._run)
        self._thread.start()

    def _run(self) -> None:
        self._context.setJobGroup(self._group, self._title, interruptOnCancel=True)
        try:
            self._act()
        # Whatever it is, it is raised by the thread that waits.
        except Exception as error:  # noqa: BLE001
            self._failure = error

    def has_ended(self) -> bool:
        self._thread.join(_POLL_S)
        return not self._thread.is_alive()

    def end(self) -> None:
        """Cancel what is left of it: a run that was given up must not go on writing."""
        while self._thread.is_alive():
            self._context.cancelJobGroup(self._group)
            self._thread.join(_POLL_S)

    def check(self) -> None:
        if self._failure is not None:
            raise error_of_job(self._failure) from self._failure


def _by_connect(session: Any, parts: Parts) -> Generator[bytes | None]:
    """Iterate over answers as the server sends them, in the order of the parts."""
    from pyspark.errors import PySparkException

    count, tag = len(parts.plan.tasks), parts.run

    def score(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            for at in batch.column(0).to_pylist():
                yield pa.RecordBatch.from_pydict({"answer": [parts.score(at)]})

    # As many partitions as rows: each part is a task of its own, as it is with RDDs.
    answers = session.range(0, count, 1, count).mapInArrow(score, "answer binary")
    session.addTag(tag)
    try:
        for row in answers.toLocalIterator():
            yield bytes(row.answer)
    except PySparkException as error:
        raise error_of_job(error) from error
    finally:
        session.interruptTag(tag)
        session.removeTag(tag)
