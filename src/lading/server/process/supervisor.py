"""Several processes on one REST and one gRPC port, and the supervisor that keeps them running.

The supervisor binds the ports, forks, replaces workers that end, and passes SIGTERM on. It has imported the
whole server except ONNX Runtime and grpcio, whose threads do not survive a fork (those of numpy's OpenBLAS
end before it), and opens no model: it is safe to fork, and workers start with these imports and share their
memory. It answers no request: workers accept from one shared socket, so that waiting connections outlive any
of them.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from lading.errors import LadingError, UsageError
from lading.logs import DUMP_STACKS_SIGNAL, set_up_logging
from lading.server.loading.crashes import Crash
from lading.server.metrics.run_marks import suspects
from lading.server.metrics.shared_memory import SharedMemory
from lading.server.process.crash_count import CRASHES, CrashCount
from lading.server.process.kept_process import KeptRunning
from lading.server.process.log_writer import LogWriter
from lading.server.process.sockets import address_of, listen, reserve_grpc_port, rest_scheme
from lading.server.process.weights_folder import weights_folder
from lading.server.process.worker import Channel, Message, WorkerContext, replica_id, reported_error
from lading.server.process.worker_process import STEADY_S, WorkerProcess, next_to_accept, restart_delay_s
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")

_DRAIN_GRACE_S = 10.0  # How much longer than both drain times a worker may take before it is killed.
_HEARTBEAT_CHECK_S = 1.0
_STACK_DUMP_S = 1.0  # How long a silent worker has to write its stacks to the log.
_RETRY_FORK_S = 1.0
_NEVER_FORK = ("grpc", "onnxruntime")
_ENDING = (signal.SIGTERM, signal.SIGINT)
DRAINING = (signal.SIGHUP, signal.SIGQUIT)
"""Signals that drain as SIGTERM does: a closed terminal, and the quiet end that nginx and others know."""

Work = Callable[[WorkerContext], int]
"""What a worker does; returns its exit code."""


def supervise(
    settings: ServeSettings,
    work: Work,
    log_writer: LogWriter | None = None,
    programs: Sequence[KeptRunning] = (),
) -> int:
    """Run ``settings.workers`` processes of `work` until SIGTERM or SIGINT, then drain; return 0.

    `log_writer` and the `programs` are kept running with them, and ended after them.

    Raises what `work` raises before anything is served, `InvalidSetting` if a port is taken, and `UsageError`
    in a process that cannot be forked any more.
    """
    loaded = [name for name in _NEVER_FORK if name in sys.modules]
    if loaded or threading.active_count() > 1:
        obstacle = ", ".join(f"`{name}`" for name in loaded) or f"{threading.active_count()} threads"
        hint = "start it with `lading serve --workers N`"
        raise UsageError("workers", expected="a process that can be forked", found=obstacle, hint=hint)
    set_up_logging(settings.log_level, log_format=settings.log_format)
    return Supervisor(settings, work, log_writer, programs).run()


def not_ignored(kinds: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Return the signals that this process was not started to ignore, as `nohup` has it ignore SIGHUP."""
    return [kind for kind in kinds if signal.getsignal(kind) != signal.SIG_IGN]


def fork_with_signals_blocked() -> int:
    """Fork; the child has `_ENDING` blocked until it can act on these signals.

    Python discards a signal that reaches a child before it has set itself up after the fork: a SIGTERM of
    that moment would be lost.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    pid = 1  # If the fork fails, this is the parent, which must unblock them again.
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    return pid


class Supervisor:
    """Starts workers, answers their messages, replaces and drains them; one loop, no thread."""

    def __init__(
        self,
        settings: ServeSettings,
        work: Work,
        log_writer: LogWriter | None = None,
        programs: Sequence[KeptRunning] = (),
    ) -> None:
        self._settings = settings
        self._work = work
        self._log_writer = log_writer
        self._kept: list[KeptRunning] = [*([log_writer] if log_writer is not None else []), *programs]
        self._listener = listen(settings)
        self._grpc_socket = reserve_grpc_port(settings)
        self._memory = SharedMemory(settings.workers)
        self._replica, self._started_at = replica_id(), time.time()
        self._workers = [WorkerProcess(number) for number in range(1, settings.workers + 1)]
        self._selector = selectors.DefaultSelector()
        # Python writes a byte to this pair for each signal, which ends the wait of the selector.
        self._wakeup_writer, self._wakeup_reader = socket.socketpair()
        self._signals: list[int] = []
        self._chooser: WorkerProcess | None = None
        self._choice: object = None
        self._startup_error: LadingError | None = None
        self._weights_folder: Path | None = None
        self._draining_until = 0.0
        self._crash_count = CrashCount()
        self._crashes: tuple[Crash, ...] = ()
        self._checked_at = self._watching_since = time.monotonic()

    def run(self) -> int:
        """Run until all workers have drained; raises the error of a first worker that cannot serve."""
        address = address_of(self._listener, rest_scheme(self._settings))
        share = self._settings.share_weights == "on"
        with self._handling_signals(), weights_folder(wanted=share) as self._weights_folder:
            log.info("listening on %s (documentation: /docs), %d workers", address, len(self._workers))
            while not (self._draining_until and not any(worker.pid for worker in self._workers)):
                for kept in self._kept:
                    kept.check()
                self._start_due()
                self._answer_workers()
                self._wait()
                self._handle_signals()
                self._end_silent()
                self._reap()
        for kept in self._kept:
            kept.close()
        if self._startup_error is not None:
            raise self._startup_error
        log.info("drained; bye")
        return 0

    # Starting workers.

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if not worker.pid and not self._draining_until and worker.start_at <= now:
                self._start(worker)

    def _start(self, worker: WorkerProcess) -> None:
        ours, theirs = socket.socketpair()
        # What is buffered would otherwise be written by both processes.
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = fork_with_signals_blocked()
        except OSError as error:
            log.error("worker %d cannot be started: %s", worker.number, error.strerror)  # noqa: TRY400
            ours.close()
            theirs.close()
            worker.start_at = time.monotonic() + _RETRY_FORK_S
            return
        if not pid:
            ours.close()
            self._run_worker(self._context(worker.number, Channel(theirs)))
        theirs.close()
        self._memory.began(worker.number, pid)
        started = WorkerProcess(worker.number, pid, Channel(ours), time.monotonic(), failures=worker.failures)
        self._workers[worker.number - 1] = started
        self._selector.register(ours, selectors.EVENT_READ, started)

    def _context(self, number: int, channel: Channel) -> WorkerContext:
        return WorkerContext(
            number,
            self._listener,
            self._grpc_socket,
            self._memory,
            channel,
            self._replica,
            self._started_at,
            self._weights_folder,
            self._crashes,
            self._log_writer.inbox if self._log_writer is not None else None,
        )

    def _run_worker(self, context: WorkerContext) -> NoReturn:
        """Be a worker, in the forked process, until its end."""
        gc.freeze()  # A collection would write to every object, and so copy the memory that is shared.
        code = 1
        try:
            self._release_resources()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            # From here on SIGTERM has its default action. One that arrived before was recorded: nothing has
            # begun yet, and the worker ends.
            code = self._work(context) if not self._signals else 0
        except LadingError as error:
            context.report_error(error)
        except BaseException:  # The caller's frames are the supervisor's: nothing may return to them.
            log.exception("worker %d failed", context.number)
        finally:
            logging.shutdown()
            os._exit(code)

    def _release_resources(self) -> None:
        """Close what belongs to the supervisor alone, in a worker."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for kind in (signal.SIGINT, *DRAINING):  # Ctrl-C reaches every process; the supervisor acts on it.
            signal.signal(kind, signal.SIG_IGN)
        for worker in self._workers:
            if worker.channel is not None:
                # A copy that stays open here would hide from that worker that its supervisor has ended.
                worker.channel.socket.close()
        self._selector.close()
        self._wakeup_writer.close()
        self._wakeup_reader.close()

    # Ending and replacing workers.

    def _end_silent(self) -> None:
        """End workers whose event loop has stood still for too long; their stacks go to the log first."""
        now = time.monotonic()
        timeout_s = self._settings.worker_timeout_s
        if now - self._checked_at > _HEARTBEAT_CHECK_S + min(2 * _HEARTBEAT_CHECK_S, timeout_s / 2):
            # This process, or the whole machine, stood still itself: that is no worker's fault.
            self._watching_since = now
        self._checked_at = now
        for worker in self._workers:
            heartbeat = self._memory.heartbeat_of(worker.number)
            if not (worker.pid and heartbeat and timeout_s) or self._draining_until:
                continue
            silent_s = now - max(heartbeat, self._watching_since)
            if silent_s < timeout_s:
                worker.kill_at = 0.0
            elif not worker.kill_at:
                message = "worker %d (process %d) has sent no heartbeat for %.0f s; ending it"
                log.error(message, worker.number, worker.pid, silent_s)
                os.kill(worker.pid, DUMP_STACKS_SIGNAL)
                worker.kill_at = now + _STACK_DUMP_S
            elif now >= worker.kill_at:
                os.kill(worker.pid, signal.SIGKILL)

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._receive(worker)  # Its last message may say why it ended.
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: WorkerProcess, code: int) -> None:
        pid, worker.pid = worker.pid, 0
        self._memory.ended(worker.number)
        if worker.channel is not None:
            self._selector.unregister(worker.channel.socket)
            worker.channel.socket.close()
            worker.channel = None
        worker.asking = worker.waiting = worker.settled = worker.accepting = False
        if self._chooser is worker:
            self._chooser = None
        if self._draining_until:
            return
        if -code in CRASHES:
            self._count_crash(worker, -code)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        now = time.monotonic()
        worker.failures = 0 if now - worker.started_at >= STEADY_S else worker.failures + 1
        delay_s = restart_delay_s(worker.failures)
        worker.start_at = now + delay_s
        if delay_s:
            pause = f"{worker.failures} times in a row within {STEADY_S:g} s; trying again in {delay_s:g} s"
            log.error("worker %d (process %d) %s, %s", worker.number, pid, how, pause)
        else:
            log.warning("worker %d (process %d) %s; starting another", worker.number, pid, how)

    def _count_crash(self, worker: WorkerProcess, number: int) -> None:
        """Take the version out of traffic, in every worker, in whose runs workers have crashed repeatedly."""
        ran = suspects(self._memory.slots[worker.number - 1])
        for suspect, times in self._crash_count.add(ran, time.monotonic()):
            crash = Crash(suspect.name, suspect.version, suspect.digest, number, times, time.time())
            how = "worker processes crashed %d times while they ran %s, which is taken out of traffic"
            log.error(how, times, crash.label)
            self._crashes = (*self._crashes, crash)
            for other in self._workers:
                if other.channel is not None:
                    other.channel.send("crashed", msgspec.to_builtins(crash))

    # Messages of workers.

    def _wait(self) -> None:
        """Wait for a message, a signal, or the time to start or end something."""
        for key, _ in self._selector.select(self._time_left()):
            if isinstance(key.data, WorkerProcess):
                self._receive(key.data)
            else:
                self._wakeup_reader.recv(4096)

    def _time_left(self) -> float | None:
        now = time.monotonic()
        if self._draining_until:
            return max(0.0, self._draining_until - now)
        due = [worker.start_at - now for worker in self._workers if not worker.pid]
        due += [kept.due_in_s() for kept in self._kept]
        if self._settings.worker_timeout_s:
            due.append(_HEARTBEAT_CHECK_S)
        return max(0.0, min(due)) if due else None

    def _receive(self, worker: WorkerProcess) -> None:
        assert worker.channel is not None
        messages = worker.channel.receive()
        for message in messages or ():
            self._handle_message(worker, message)

    def _handle_message(self, worker: WorkerProcess, message: Message) -> None:
        match message:
            case ("ask", _):
                worker.asking = True
            case ("chosen", choice):
                self._choice = choice
            case ("waiting", _):
                worker.waiting = True
            case ("settled", _):
                worker.settled = True
            case ("refused", value):
                self._handle_error(worker, reported_error(value))

    def _handle_error(self, worker: WorkerProcess, error: LadingError) -> None:
        # An error before anything was chosen is the user's: the start fails, as that of a single process.
        if self._choice is None and not self._draining_until:
            self._startup_error = error
            self._drain()
        else:
            log.error("worker %d cannot serve: %s", worker.number, error)

    def _answer_workers(self) -> None:
        for worker in self._workers:
            if worker.asking and worker.channel is not None:
                self._send_choice(worker, worker.channel)
        while (chosen := next_to_accept(self._workers)) is not None:
            chosen.accepting = True
            if chosen.channel is not None:
                chosen.channel.send("accept")

    def _send_choice(self, worker: WorkerProcess, channel: Channel) -> None:
        """Send the choice of what to serve, or have the first that asks make it."""
        if self._choice is not None:
            worker.asking = not channel.send("chosen", self._choice)
        elif self._chooser is None:
            self._chooser = worker
            worker.asking = not channel.send("choose")

    # Signals.

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        for end in (self._wakeup_writer, self._wakeup_reader):
            end.setblocking(False)
        self._selector.register(self._wakeup_reader, selectors.EVENT_READ, None)
        fd_before = signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, *not_ignored(DRAINING))
        handlers_before = [signal.signal(kind, self._record_signal) for kind in kinds]
        try:
            yield
        finally:
            for kind, handler in zip(kinds, handlers_before, strict=True):
                signal.signal(kind, handler)
            signal.set_wakeup_fd(fd_before)
            self._close()

    def _close(self) -> None:
        self._selector.close()
        for end in (self._wakeup_writer, self._wakeup_reader, self._listener, self._grpc_socket):
            if end is not None:
                end.close()

    def _record_signal(self, kind: int, _frame: FrameType | None) -> None:
        if kind != signal.SIGCHLD:  # `_reap` looks at every worker in each turn of the loop.
            self._signals.append(kind)

    def _handle_signals(self) -> None:
        while self._signals:
            kind = self._signals.pop(0)
            if kind == signal.SIGINT and self._draining_until:
                self._send_signal(signal.SIGKILL)
            else:
                self._drain()
        if self._draining_until and time.monotonic() > self._draining_until:
            log.warning("killing workers that have not drained in time")
            self._draining_until += _DRAIN_GRACE_S
            self._send_signal(signal.SIGKILL)

    def _drain(self) -> None:
        """Pass SIGTERM on to every worker; a second one ends their drain delay."""
        self._send_signal(signal.SIGTERM)
        if not self._draining_until:
            settings = self._settings
            log.info("draining %d workers", sum(1 for worker in self._workers if worker.pid))
            longest_s = settings.drain_delay_s + settings.drain_timeout_s + _DRAIN_GRACE_S
            self._draining_until = time.monotonic() + longest_s
            # Only workers hold it now. When the last of them closes it, the kernel refuses connections that
            # nobody would accept.
            self._listener.close()

    def _send_signal(self, kind: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, kind)
