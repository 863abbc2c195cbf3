"""A command that runs models, in a process of its own: what crashes or never ends there becomes a sentence.

The process is forked before anything with threads is imported, so it costs a few milliseconds. The command
goes on in it as if nothing had happened; the one that was started waits, and ends as it ends.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO

import click

from lading.errors import ModelCrashed, ModelEndless

_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>\S+)')
_WITH_THREADS = ("onnxruntime", "torch", "sklearn", "lightgbm", "xgboost", "catboost", "tensorflow")
_INTERRUPT_GRACE_S = 2.0
_POLL_S = 0.02
_SHOW_CURSOR = "\x1b[?25h"


def isolate(what: str, actions: Sequence[tuple[str, str]], *, timeout_s: float) -> None:
    """Go on in a process of its own; in the one that was started, wait for its end and raise.

    `actions` say what is done, by the beginning of ``convert/graph.py:run``, the file below lading with the
    function: the first that matches.
    Raises `click.exceptions.Exit` with the exit code, `ModelCrashed` if a signal ended the process, and
    `ModelEndless` if it has not ended within `timeout_s`. Where a process cannot be forked safely, as within
    a notebook, nothing happens.
    """
    if not _is_forkable():
        return
    trace = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - both keep it
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # What is buffered would otherwise be written by both processes.
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        _end_with(parent)
        faulthandler.enable(trace)
        return
    code, late = _wait(pid, timeout_s)
    if code >= 0 and not late:
        raise click.exceptions.Exit(code)
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)  # The spinner of the process hid it.
    trace.seek(0)
    action, library = _place(trace, actions)
    if late:
        ending = f"that {action} had not ended after {timeout_s:g} s"
        hint = "`--timeout-s` allows more time; a loop in the model may never end"
        raise ModelEndless(what, expected="a model that runs to its end", found=ending, hint=hint)
    from lading.runtime.host.signals import name_of_signal

    ending = f"that {action} ended with {name_of_signal(-code)}{library}"
    cause = "the kernel ends a process so when memory runs out" if code == -signal.SIGKILL else None
    raise ModelCrashed(what, expected="a model that runs to its end", found=ending, hint=cause)


def _is_forkable() -> bool:
    # macOS: its frameworks do not survive a fork. Other streams: this is no process of the command alone.
    alone = sys.platform == "linux" and sys.stdout is sys.__stdout__ and threading.active_count() == 1
    return alone and not any(name in sys.modules for name in _WITH_THREADS)


def _end_with(parent: int) -> None:
    from lading.runtime.host.signals import end_with_parent

    end_with_parent(parent)


def _wait(pid: int, timeout_s: float) -> tuple[int, bool]:
    """Return the exit code, negative for a signal, and whether the time was up."""
    deadline = time.monotonic() + timeout_s
    late = False
    try:
        while (code := _ended(pid)) is None:
            if not late and time.monotonic() > deadline:
                late, deadline = True, time.monotonic() + _INTERRUPT_GRACE_S
                os.kill(pid, signal.SIGABRT)  # Its handler writes where the process is.
            elif late and time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        # Ctrl-C reaches both; native code does not look at it.
        deadline = time.monotonic() + _INTERRUPT_GRACE_S
        while _ended(pid) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        _kill(pid)
        raise
    return code, late


def _ended(pid: int) -> int | None:
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # waited for already
        return 0
    return os.waitstatus_to_exitcode(status) if done else None


def _kill(pid: int) -> None:
    if _ended(pid) is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _place(trace: IO[str], actions: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return what was done, and in which library, from the stack of the thread that ended the process."""
    frames = [match for line in _current_thread(trace) if (match := _FRAME.match(line))]
    library = ""
    for frame in frames:
        path = str(frame["file"])
        if "/site-packages/" in path and not library:
            library = f" in `{path.partition('/site-packages/')[2].partition('/')[0]}`"
        below = f"{path.rpartition('/lading/')[2]}:{frame['name']}" if "/lading/" in path else ""
        for beginning, action in actions:
            if below.startswith(beginning):
                return action, library
    return "running the model", library


def _current_thread(trace: IO[str]) -> list[str]:
    """Return the lines of the thread in which the signal arrived, innermost first."""
    lines = trace.read().splitlines()
    current = [at for at, line in enumerate(lines) if line.startswith("Current thread")]
    return lines[current[0] :] if current else lines
