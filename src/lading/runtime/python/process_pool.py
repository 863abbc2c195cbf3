"""The processes of one model: which of them are free, and how one that has ended is replaced.

No lock is held while a process starts, loads or works.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from lading.clock import back_off_s
from lading.errors import LadingError, ModelProcessEnded, RunFailed
from lading.runtime.host.signals import how_it_ended
from lading.runtime.python.output_log import LineLimit
from lading.runtime.python.process import EndReason, ModelProcess, ProcessSettings

log = logging.getLogger("lading.model")

_WATCH_S = 0.5


@dataclass(frozen=True)
class Restarts:
    """How soon a process that has ended is replaced, and how long requests wait for that.

    The pause doubles from `first_s` to `most_s`, until a process has run for `steady_s`. A request waits if
    the next process should be ready within `patience_s`, and fails at once otherwise.
    """

    first_s: float = 0.1
    most_s: float = 30.0
    steady_s: float = 60.0
    patience_s: float = 5.0


class ProcessPool:
    """Keeps a number of processes of one model. ``ended`` counts those that it has replaced."""

    def __init__(
        self,
        settings: ProcessSettings,
        processes: int,
        load_deadline_s: float,
        restarts: Restarts,
        starting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Start the processes, and return once all have loaded; raises what `ModelProcess.load` does.

        Each is started and loads within `starting`, which may raise a `LadingError` as well.
        """
        self.settings = settings
        self.starting = starting
        self.load_deadline_s = load_deadline_s
        self.restarts = restarts
        self.limit = LineLimit()
        self.ended = 0
        self._report: Callable[[EndReason], object] | None = None
        self._unreported: list[EndReason] = []
        self._changed = threading.Condition()
        self._ready: list[ModelProcess] = []
        self._running: set[ModelProcess] = set()
        self._closed = False
        self._slots = [Slot(self, number) for number in range(processes)]
        self._stopped = threading.Event()
        self._watch = threading.Thread(
            target=self._limit_memory, name=f"memory of {settings.name}", daemon=True
        )
        for slot in self._slots:
            slot.start()
        if settings.memory_bytes:
            self._watch.start()
        try:
            self._wait_until_loaded()
        except BaseException:
            self.close()
            raise

    def take(self, within_s: float) -> ModelProcess:
        """Return a free process, once there is one; it must be given back.

        Raises `ModelProcessEnded` if there is none within `within_s`, at once if none is expected soon, and
        `RunFailed` if the pool is closed.
        """
        until = time.monotonic() + within_s
        with self._changed:
            while not self._ready:
                if self._closed:
                    where = f"model `{self.settings.name}`"
                    raise RunFailed(where, expected="to be open", found="it closed")
                now = time.monotonic()
                in_s = min(slot.ready_at for slot in self._slots) - now
                if now >= until or in_s > self.restarts.patience_s:
                    raise self._none_ready(in_s)
                self._changed.wait(until - now)
            process = self._ready.pop()
            self._running.add(process)
            return process

    def give(self, process: ModelProcess) -> None:
        """Return a process after its run: it is free again, unless it has ended."""
        with self._changed:
            self._running.discard(process)
            closed = self._closed
            if not closed and not process.has_ended:
                self._ready.append(process)
            self._changed.notify_all()
        if closed:
            process.close()

    def running(self) -> list[ModelProcess]:
        """Return the processes that are taken."""
        with self._changed:
            return list(self._running)

    def pids(self) -> list[int]:
        """Return the numbers of the processes that have loaded the model."""
        with self._changed:
            return [process.pid for process in (*self._ready, *self._running)]

    def close(self) -> None:
        """End the processes; those that run finish first, and are not waited for. Twice is no error."""
        with self._changed:
            self._closed = True
            ready, self._ready = self._ready, []
            idle = not self._running
            self._changed.notify_all()
        self._stopped.set()
        for slot in self._slots:
            slot.stop()
        for process in ready:
            process.close()
        if self._watch.is_alive():
            self._watch.join()
        if idle:
            for slot in self._slots:
                slot.join()

    def add(self, process: ModelProcess) -> None:
        """Take in a process that has loaded the model."""
        with self._changed:
            closed = self._closed
            if not closed:
                self._ready.append(process)
            self._changed.notify_all()
        if closed:
            process.close()

    def remove(self, process: ModelProcess) -> None:
        """Take out a process that has ended, once the run that it has ended in is over."""
        with self._changed:
            self._changed.wait_for(lambda: process not in self._running)
            if process in self._ready:
                self._ready.remove(process)
            self.ended += not self._closed
            reason: EndReason = "stopped" if self._closed else process.end_reason
            if (report := self._report) is None:
                self._unreported.append(reason)
        if report is not None:
            report(reason)

    def report_ends(self, report: Callable[[EndReason], object]) -> None:
        """Call `report` for each process that has ended or ends, with the reason, in a thread of its own."""
        with self._changed:
            self._report, earlier, self._unreported = report, self._unreported, []
        for reason in earlier:
            report(reason)

    def notify(self) -> None:
        """Have everyone who waits look again: a slot has changed."""
        with self._changed:
            self._changed.notify_all()

    def _limit_memory(self) -> None:
        """Look now and then at what processes have started: the kernel limits each of these by itself."""
        while not self._stopped.wait(_WATCH_S):
            with self._changed:
                processes = [*self._ready, *self._running]
            for process in processes:
                process.limit_memory()

    def _wait_until_loaded(self) -> None:
        def is_over() -> bool:
            return any(slot.failure for slot in self._slots) or all(slot.load_s for slot in self._slots)

        with self._changed:
            self._changed.wait_for(is_over)
        for slot in self._slots:
            if slot.failure is not None:
                raise slot.failure

    def _none_ready(self, in_s: float) -> ModelProcessEnded:
        failure = next((slot.failure for slot in self._slots if slot.failure is not None), None)
        last = "" if failure is None else f"; {failure.message}"
        state = f"none for {round(in_s, 1):g} s{last}" if in_s > 0 else "that all are busy"
        return ModelProcessEnded(
            f"the processes of `{self.settings.name}`",
            expected="one that can answer",
            found=state,
            hint="the log has what it printed",
        )


class Slot:
    """One process after the other, in a thread that lives as long as they do: they end with it.

    ``ready_at`` is when the slot should have a process again, 0 while it has one. ``failure`` is why it has
    none, or the last one ended; ``load_s`` is how long loading took, 0 before the first time.
    """

    def __init__(self, pool: ProcessPool, number: int) -> None:
        self.ready_at = 0.0
        self.load_s = 0.0
        self.failure: LadingError | None = None
        self._pool = pool
        self._failures = 0
        self._stopped = threading.Event()
        self._loading: ModelProcess | None = None
        name = f"process {number} of {pool.settings.name}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin with the first process."""
        self._thread.start()

    def stop(self) -> None:
        """Start no further process, and end one that is loading."""
        self._stopped.set()
        if (process := self._loading) is not None:
            process.kill(RunFailed(f"model `{self._pool.settings.name}`", found="it closed"))

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                process = self._loaded()
            except LadingError as error:
                self.failure = error
                if not self.load_s:  # The first one: its error is that of opening the model.
                    self._pool.notify()
                    return
                self._pause(0.0)
                continue
            self.load_s, self.ready_at, self.failure = time.monotonic() - began, 0.0, None
            ready = time.monotonic()
            self._pool.add(process)
            code = process.wait()
            self._pool.remove(process)
            process.close()
            self.failure = process.ended_because or ModelProcessEnded(
                f"the process of `{self._pool.settings.name}`", expected="to run", found=how_it_ended(code)
            )
            self._pause(time.monotonic() - ready)

    def _loaded(self) -> ModelProcess:
        """Start a process and load the model."""
        pool = self._pool
        with pool.starting():
            process = ModelProcess(pool.settings, pool.limit)
            self._loading = process
            try:
                if self._stopped.is_set():  # It was set before there was a process to end.
                    raise RunFailed(f"model `{pool.settings.name}`", found="it closed")
                process.load(pool.load_deadline_s)
            except BaseException:
                process.close()
                raise
            finally:
                self._loading = None
        return process

    def _pause(self, lived_s: float) -> None:
        """Wait before the next process, the longer the more often the last ones have ended soon."""
        if self._stopped.is_set():
            return
        restarts = self._pool.restarts
        if isinstance(self.failure, RunFailed):  # It was ended from outside, and did not fail.
            pause_s = 0.0
        else:
            self._failures = 1 if lived_s >= restarts.steady_s else self._failures + 1
            pause_s = back_off_s(self._failures, first_s=restarts.first_s, most_s=restarts.most_s)
        assert self.failure is not None
        self.ready_at = time.monotonic() + pause_s + self.load_s
        self._pool.notify()
        message = self.failure.message
        log.warning(
            "%s: %s; the next process starts in %g s", self._pool.settings.name, message, round(pause_s, 2)
        )
        self._stopped.wait(pause_s)
