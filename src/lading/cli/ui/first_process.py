"""What the first process of a container does for all others: it reaps those whose parents have ended.

The kernel gives orphans to process 1, and they stay in the table of processes until it has asked how they
ended. A server does not ask for processes that it has not started; so process 1 starts the server and waits.
"""

from __future__ import annotations

import os
import signal
import sys

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def leave_process_1() -> None:
    """Go on in a child if this is process 1, which passes signals on to it, reaps, and ends as it ends."""
    if os.getpid() != 1:
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # What is buffered would otherwise be written by both processes.
    # Blocked, signals wait until they are asked for; process 1 would not see them otherwise (signal(7)).
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
    server = os.fork()
    if server == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    code = None
    while code is None:
        received = signal.sigwaitinfo((*_PASSED_ON, signal.SIGCHLD))
        if received.si_signo == signal.SIGCHLD:
            code = _reap(server)
        elif received.si_code <= 0:  # Of a process; a terminal sends its signals to the server as well.
            os.kill(server, received.si_signo)
    os._exit(code if code >= 0 else 128 - code)


def _reap(server: int) -> int | None:
    """Reap all that have ended; return the exit code of `server`, negative for a signal, if it is one."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not pid:
            return code
        if pid == server:
            code = os.waitstatus_to_exitcode(status)
