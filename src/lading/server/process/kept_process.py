"""A program beside the server: started with it, started again when it ends, and ended after it.

The server knows none of them: it is given each as something to check and close.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from lading.server.process.worker_process import STEADY_S, restart_delay_s

log = logging.getLogger("lading.server")

_CHECK_S = 0.5
_FIRST_RETRY_S = 1.0


class KeptRunning(Protocol):
    """What keeps a program running as long as somebody calls `check`."""

    def check(self) -> None:
        """Start the process if none runs and it is time to."""

    def due_in_s(self) -> float:
        """Return in how many seconds `check` has something to do, if no process ends."""

    def close(self) -> None:
        """End the process, and wait until it has."""


class KeptProcess:
    """A program that is started again when it ends, later and later if it ends soon.

    Its standard input is a pipe that ends with the server, however that ends: a program that reads it can end
    by itself, and is not left behind by a server that was killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        environ: Mapping[str, str] | None = None,
        end_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._command, self._pass_fds, self._environ = command, tuple(pass_fds), environ
        self._end_s = end_s
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._failures = 0

    @property
    def pid(self) -> int:
        """The process, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def check(self) -> None:
        """Start the process if none runs and it is time to."""
        now = self._clock()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._forget()
            self._failures = 0 if now - self._started_at >= STEADY_S else self._failures + 1
            delay_s = restart_delay_s(self._failures)
            self._start_at = now + delay_s
            log.error("%s ended (%d); starting another in %g s", self._name, code, delay_s)
        if now >= self._start_at:
            self._start(now)

    def due_in_s(self) -> float:
        """Return in how many seconds `check` has something to do, if no process ends."""
        return max(0.0, self._start_at - self._clock()) if self._process is None else float("inf")

    def has_ended(self, within_s: float) -> bool:
        """Wait for a process that ends by itself, and return whether it has; one that has not goes on."""
        if self._process is None:
            return True
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        self._forget()
        return True

    def close(self) -> None:
        """End the process by SIGTERM, by SIGKILL if it takes too long, and wait until it has ended."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._end_s)
        except subprocess.TimeoutExpired:
            log.warning("%s has not ended within %g s; killing it", self._name, self._end_s)
            self._process.kill()
            self._process.wait()
        self._forget()

    def _start(self, now: float) -> None:
        self._started_at = now
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command of one of ours
                self._command,
                stdin=subprocess.PIPE,
                pass_fds=self._pass_fds,
                env=self._environ,
                # Ctrl-C reaches the server alone, which ends this when it has drained itself.
                start_new_session=True,
            )
        except OSError as error:
            self._failures += 1
            self._start_at = now + max(_FIRST_RETRY_S, restart_delay_s(self._failures))
            log.error("%s cannot be started: %s", self._name, error.strerror)  # noqa: TRY400

    def _forget(self) -> None:
        assert self._process is not None
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


@contextlib.contextmanager
def watched(kept: KeptRunning) -> Iterator[None]:
    """Have a thread keep a program running within; for a server without a supervisor."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_CHECK_S):
            kept.check()

    kept.check()
    thread = threading.Thread(target=watch, name="kept process", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        kept.close()
