"""The local engine: processes of this machine that score parts, each with a model of its own.

A process that ends in the middle costs the part that it was at, which another scores.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from lading.batch.engines import Engine
from lading.batch.plan import Task
from lading.batch.scoring import Done, Scorer
from lading.batch.work import Work
from lading.errors import LadingError, RunFailed
from lading.runtime.host.cpus import cpu_limit

_TRIES = 3
_MANY_BYTES = 64 * 2**20  # of input, which take longer to hash than a process to start

# A new interpreter for each: a fork would copy the locks of threads, but not the threads that hold them.
_context = multiprocessing.get_context("spawn")


class LocalEngine(Engine):
    """Processes of this machine; for large inputs they start while those are being hashed."""

    def __init__(self) -> None:
        super().__init__(self._score)
        self._ready: list[_Worker] = []

    def expect(self, size_bytes: int, processes: int) -> None:
        """Start processes if there is enough for them to do."""
        processes = processes or cpu_limit()
        if processes > 1 and size_bytes >= _MANY_BYTES:
            self._ready += [_Worker() for _ in range(processes)]

    def _score(self, work: Work, tasks: Sequence[Task], processes: int) -> Generator[Done]:
        processes = min(processes or cpu_limit(), len(tasks))
        if processes <= 1:
            yield from _score_here(work, tasks)
            return
        pool = _Pool(work, self._ready)
        try:
            yield from pool.run(tasks, processes)
        finally:
            pool.close()

    def close(self) -> None:
        """End the processes that were not needed."""
        for worker in self._ready:
            worker.end()
        self._ready.clear()


def _score_here(work: Work, tasks: Sequence[Task]) -> Iterator[Done]:
    if not tasks:
        return
    scorer = work.scorer()
    try:
        yield from scorer.score_all(tasks, work.parts)
    finally:
        scorer.close()


class _Worker:
    """A process that waits for its work, and then for one task after the other."""

    def __init__(self) -> None:
        self.pipe, end = _context.Pipe()
        # No daemon: a model of a bundle's own code is a process of this one.
        self.process = _context.Process(target=_serve, args=(end,))
        self.process.start()
        end.close()
        self.task: Task | None = None

    def send(self, message: Work | Task) -> None:
        with contextlib.suppress(OSError):  # It has ended, which the next reading finds out.
            self.pipe.send(message)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Pool:
    def __init__(self, work: Work, ready: list[_Worker]) -> None:
        self._work = work
        self._ready = ready
        self._workers: list[_Worker] = []

    def run(self, tasks: Sequence[Task], processes: int) -> Iterator[Done]:
        """Iterate over tasks as they are done."""
        left, tries = deque(tasks), dict.fromkeys((task.part for task in tasks), 0)
        for _ in range(processes):
            self._start(left, tries)
        while self._workers:
            for pipe in wait([worker.pipe for worker in self._workers]):
                worker = next(each for each in self._workers if each.pipe is pipe)
                assert worker.task is not None
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    self._replace(worker, left, tries)
                    continue
                if isinstance(answer, LadingError):
                    raise answer
                yield answer
                self._next(worker, left, tries)

    def _start(self, left: deque[Task], tries: dict[str, int]) -> None:
        worker = self._ready.pop() if self._ready else _Worker()
        worker.send(self._work)
        self._workers.append(worker)
        self._next(worker, left, tries)

    def _next(self, worker: _Worker, left: deque[Task], tries: dict[str, int]) -> None:
        if not left:
            self._end(worker)
            return
        task = left.popleft()
        tries[task.part] += 1
        worker.task = task
        worker.send(task)

    def _replace(self, worker: _Worker, left: deque[Task], tries: dict[str, int]) -> None:
        """Have another process do what one that has ended was at."""
        task = worker.task
        assert task is not None
        self._end(worker)
        # After the join: before it, an end may not have been noticed yet.
        code = worker.process.exitcode
        if tries[task.part] >= _TRIES:
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            raise RunFailed(
                f"part `{task.part}`",
                expected="a process that scores it",
                found=f"{_TRIES} that ended ({how})",
                hint="is it out of memory? fewer `--processes` need less",
            )
        # First of all, so that a part that ends every process is found out soon.
        left.appendleft(task)
        self._start(left, tries)

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:  # Empty, unless the run was given up.
            worker.end()


def _serve(pipe: Connection) -> None:
    """Score tasks until the pipe is closed: the whole life of a process of the pool."""
    # Ctrl-C reaches all processes of a terminal; the one that asked ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    scorer: Scorer | None = None
    work: Work | None = None
    try:
        while True:
            try:
                task = pipe.recv()
            except EOFError:  # Closed, or the process that asked has ended.
                return
            if work is None:  # The first message of all.
                work = task
                continue
            # A refusal goes back as an answer; anything else ends this process, and is looked at there.
            try:
                scorer = scorer or work.scorer()
                answer: object = scorer.score(task, work.parts)
            except LadingError as error:
                answer = error
            pipe.send(answer)
    finally:
        if scorer is not None:
            scorer.close()
