"""Several processes on one REST and one gRPC port, and the supervisor that keeps them running.

The supervisor takes the addresses, forks, replaces workers that end, and hands SIGTERM on. It has imported
the server but for ONNX Runtime and grpcio, whose threads do not outlive a fork (those of numpy's OpenBLAS
end before it), and opens no model: forking it is safe, and a worker has at once, and shares with the others,
what it would have to import. It answers no request: workers accept from one shared socket, so that what waits
there outlives any of them.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from lading.clock import back_off_s
from lading.errors import LadingError, UsageError
from lading.logs import DUMP_STACKS_SIGNAL, set_up_logging
from lading.server.metrics.shared_memory import SharedMemory
from lading.server.process.sockets import hold, listen
from lading.server.process.weights_folder import weights_folder
from lading.server.process.worker import Channel, Message, WorkerContext, refusal, replica_id
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")

STEADY_S = 10.0
"""A worker that lived this long did not fail to start, whatever ended it."""

LONGEST_WAIT_S = 30.0
_GRACE_S = 10.0
_WATCH_S = 1.0
_LAST_WORDS_S = 1.0
_NEVER_FORK = ("grpc", "onnxruntime")
_ENDING = (signal.SIGTERM, signal.SIGINT)

Work = Callable[[WorkerContext], int]


@dataclass(eq=False)
class Worker:
    """One worker as the supervisor sees it; ``pid`` is 0 while there is none."""

    number: int
    pid: int = 0
    line: Channel | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    asking: bool = False
    waiting: bool = False
    settled: bool = False
    accepting: bool = False
    kill_at: float = 0.0


def next_to_accept(workers: Sequence[Worker]) -> Worker | None:
    """Choose the worker to let accept now.

    The first one at once, that probes get an honest answer while it loads. Every further one when it and one
    of those that accept have settled: a worker that still loads must not refuse what others would answer.
    """
    waiting = [one for one in workers if one.waiting and not one.accepting]
    accepting = [one for one in workers if one.accepting]
    if accepting and not any(one.settled for one in accepting):
        return None
    settled = [one for one in waiting if one.settled]
    return next(iter(settled or (waiting if not accepting else [])), None)


def wait_s(failures: int) -> float:
    """Return the seconds to wait before starting a worker that ended early `failures` times in a row."""
    # The first time at once: most often a worker was killed for no fault of its own.
    return 0.0 if failures <= 1 else back_off_s(failures - 1, first_s=0.5, most_s=LONGEST_WAIT_S)


def supervise(settings: ServeSettings, work: Work) -> int:
    """Run ``settings.workers`` processes of `work` until SIGTERM or SIGINT, drain them, give the exit code 0.

    Raises what `work` raises before anything is served, `InvalidSetting` where a port is taken, and
    `UsageError` in a process that cannot be forked any more.
    """
    loaded = [name for name in _NEVER_FORK if name in sys.modules]
    if loaded or threading.active_count() > 1:
        found = ", ".join(f"`{name}`" for name in loaded) or f"{threading.active_count()} threads"
        hint = "start it with `lading serve --workers N`"
        raise UsageError("workers", expected="a process that can be forked", found=found, hint=hint)
    set_up_logging(settings.log_level)
    return Supervisor(settings, work).run()


def _forked() -> int:
    """Fork; the child is to let `_ENDING` through when it can act on them.

    Python drops what reaches a child before it has set itself up after the fork, and a SIGTERM would be lost.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    pid = 1  # Whatever happens, it is the parent that lets them through again.
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    return pid


class Supervisor:
    """Starts workers, hears them, replaces them, drains them; one loop, no thread."""

    def __init__(self, settings: ServeSettings, work: Work) -> None:
        self._settings = settings
        self._work = work
        self._listener = listen(settings)
        self._held = hold(settings)
        self._memory = SharedMemory(settings.workers)
        self._replica, self._started_at = replica_id(), time.time()
        self._workers = [Worker(number) for number in range(1, settings.workers + 1)]
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._signals: list[int] = []
        self._chooser: Worker | None = None
        self._chosen: object = None
        self._refused: LadingError | None = None
        self._weights_in: Path | None = None
        self._draining_until = 0.0
        self._watched_at = self._watching_since = time.monotonic()

    def run(self) -> int:
        """Live through it; raises the error of a first worker that cannot serve."""
        host, port = self._listener.getsockname()[:2]
        with self._signals_heard(), weights_folder(wanted=self._settings.share_weights == "on") as folder:
            self._weights_in = folder
            log.info(
                "listening on http://%s:%d (documentation: /docs), %d workers", host, port, len(self._workers)
            )
            while not (self._draining_until and not any(one.pid for one in self._workers)):
                self._start_due()
                self._answer()
                self._wait()
                self._handle_signals()
                self._end_silent()
                self._reap()
        if self._refused is not None:
            raise self._refused
        log.info("drained; bye")
        return 0

    # Starting and ending.

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if not worker.pid and not self._draining_until and worker.start_at <= now:
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = _forked()
        except OSError as error:
            log.error("worker %d cannot be started: %s", worker.number, error.strerror)  # noqa: TRY400
            ours.close()
            theirs.close()
            worker.start_at = time.monotonic() + 1.0
            return
        if not pid:
            ours.close()
            self._be(self._seat(worker.number, Channel(theirs)))
        theirs.close()
        self._memory.began(worker.number, pid)
        fresh = Worker(worker.number, pid, Channel(ours), time.monotonic(), failures=worker.failures)
        self._workers[worker.number - 1] = fresh
        self._selector.register(ours, selectors.EVENT_READ, fresh)

    def _seat(self, number: int, line: Channel) -> WorkerContext:
        shared = (self._listener, self._held, self._memory)
        return WorkerContext(number, *shared, line, self._replica, self._started_at, self._weights_in)

    def _be(self, seat: WorkerContext) -> NoReturn:
        """Be a worker, in the forked process, until the end of it."""
        gc.freeze()  # A collection would write to every object, and thereby copy what is shared.
        code = 1
        try:
            self._let_go()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            # A signal that came before its handler was the default's again: to end, and nothing was begun.
            code = self._work(seat) if not self._signals else 0
        except LadingError as error:
            seat.refuse(error)
        except BaseException:  # The caller's frames are the supervisor's: nothing may get back to them.
            log.exception("worker %d failed", seat.number)
        finally:
            logging.shutdown()
            os._exit(code)

    def _let_go(self) -> None:
        """Close what is the supervisor's; were a line kept open here, its end would go unnoticed."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the supervisor's counts.
        for worker in self._workers:
            if worker.line is not None:
                worker.line.socket.close()
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _end_silent(self) -> None:
        """End workers whose event loop has stood still for too long; what they stood at goes to the log."""
        now = time.monotonic()
        timeout_s = self._settings.worker_timeout_s
        if now - self._watched_at > _WATCH_S + min(2 * _WATCH_S, timeout_s / 2):
            self._watching_since = now  # This process, or the whole machine, stood still itself.
        self._watched_at = now
        for worker in self._workers:
            beat = self._memory.beat_of(worker.number)
            if not (worker.pid and beat and timeout_s) or self._draining_until:
                continue
            silent_s = now - max(beat, self._watching_since)
            if silent_s < timeout_s:
                worker.kill_at = 0.0
            elif not worker.kill_at:
                what = "worker %d (process %d) has not given a sign of life for %.0f s; ending it"
                log.error(what, worker.number, worker.pid, silent_s)
                os.kill(worker.pid, DUMP_STACKS_SIGNAL)
                worker.kill_at = now + _LAST_WORDS_S
            elif now >= worker.kill_at:
                os.kill(worker.pid, signal.SIGKILL)

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._hear(worker)  # What it said last is still to be read.
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: Worker, code: int) -> None:
        pid, worker.pid = worker.pid, 0
        self._memory.ended(worker.number)
        if worker.line is not None:
            self._selector.unregister(worker.line.socket)
            worker.line.socket.close()
            worker.line = None
        worker.asking = worker.waiting = worker.settled = worker.accepting = False
        if self._chooser is worker:
            self._chooser = None
        if self._draining_until:
            return
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        now = time.monotonic()
        steady = now - worker.started_at >= STEADY_S
        worker.failures = 0 if steady else worker.failures + 1
        wait = wait_s(worker.failures)
        worker.start_at = now + wait
        if wait:
            what = f"{worker.failures} times in a row within {STEADY_S:g} s; trying again in {wait:g} s"
            log.error("worker %d (process %d) %s, %s", worker.number, pid, how, what)
        else:
            log.warning("worker %d (process %d) %s; starting another", worker.number, pid, how)

    # Hearing and answering.

    def _wait(self) -> None:
        """Wait for a word, a signal, or the time to start or end something."""
        for key, _ in self._selector.select(self._time_left()):
            if isinstance(key.data, Worker):
                self._hear(key.data)
            else:
                self._woken.recv(4096)

    def _time_left(self) -> float | None:
        now = time.monotonic()
        if self._draining_until:
            return max(0.0, self._draining_until - now)
        due = [one.start_at - now for one in self._workers if not one.pid]
        if self._settings.worker_timeout_s:
            due.append(_WATCH_S)
        return max(0.0, min(due)) if due else None

    def _hear(self, worker: Worker) -> None:
        assert worker.line is not None
        messages = worker.line.receive()
        for message in messages or ():
            self._take(worker, message)

    def _take(self, worker: Worker, message: Message) -> None:
        match message:
            case ("ask", _):
                worker.asking = True
            case ("chosen", value):
                self._chosen = value
            case ("waiting", _):
                worker.waiting = True
            case ("settled", _):
                worker.settled = True
            case ("refused", value):
                self._refuse(worker, refusal(value))

    def _refuse(self, worker: Worker, error: LadingError) -> None:
        if self._chosen is None and not self._draining_until:
            self._refused = error
            self._drain()
        else:
            log.error("worker %d cannot serve: %s", worker.number, error)

    def _answer(self) -> None:
        for worker in self._workers:
            if worker.asking and worker.line is not None:
                self._tell_what_to_serve(worker, worker.line)
        while (chosen := next_to_accept(self._workers)) is not None:
            chosen.accepting = True
            if chosen.line is not None:
                chosen.line.send("accept")

    def _tell_what_to_serve(self, worker: Worker, line: Channel) -> None:
        if self._chosen is not None:
            worker.asking = not line.send("chosen", self._chosen)
        elif self._chooser is None:
            self._chooser = worker
            worker.asking = not line.send("choose")

    # Signals.

    @contextlib.contextmanager
    def _signals_heard(self) -> Iterator[None]:
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        fd_before = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        before = [signal.signal(kind, self._note) for kind in kinds]
        try:
            yield
        finally:
            for kind, handler in zip(kinds, before, strict=True):
                signal.signal(kind, handler)
            signal.set_wakeup_fd(fd_before)
            self._close()

    def _close(self) -> None:
        self._selector.close()
        for end in (self._wake, self._woken, self._listener, self._held):
            if end is not None:
                end.close()

    def _note(self, kind: int, _frame: FrameType | None) -> None:
        if kind != signal.SIGCHLD:
            self._signals.append(kind)

    def _handle_signals(self) -> None:
        while self._signals:
            kind = self._signals.pop(0)
            if kind == signal.SIGINT and self._draining_until:
                self._send(signal.SIGKILL)
            else:
                self._drain()
        if self._draining_until and time.monotonic() > self._draining_until:
            log.warning("workers that have not drained in time are ended")
            self._draining_until += _GRACE_S
            self._send(signal.SIGKILL)

    def _drain(self) -> None:
        """Hand SIGTERM on; a second time it ends the delay."""
        self._send(signal.SIGTERM)
        if not self._draining_until:
            settings = self._settings
            log.info("draining %d workers", sum(1 for one in self._workers if one.pid))
            longest = settings.drain_delay_s + settings.drain_timeout_s + _GRACE_S
            self._draining_until = time.monotonic() + longest
            # Only workers hold it now: when the last one closes it, nobody can wait for an answer in vain.
            self._listener.close()

    def _send(self, kind: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, kind)
