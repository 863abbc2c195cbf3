"""How processes end: signals in words, and a process that ends with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PARENT_DEATH_SIGNAL = 1  # prctl(2), PR_SET_PDEATHSIG
# `end_with_parent` for a program that is no part of this process: SIGKILL, then the program itself.
_LAUNCHER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


def name_of_signal(number: int) -> str:
    """Return a signal as people look it up: ``SIGSEGV (11)``."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:  # a real-time signal has no name in Python
        return f"signal {number}"


def how_it_ended(code: int) -> str:
    """Return the exit code of `subprocess` in words: ``exit code 1``, ``SIGKILL (9)``."""
    return name_of_signal(-code) if code < 0 else f"exit code {code}"


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when the thread of the process `parent` that started it ends.

    Ends it at once if `parent` has ended before. Only Linux can do so.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def ending_with_parent(command: Sequence[str]) -> list[str]:
    """Return `command` so that the kernel ends its process when the thread that starts it ends.

    Only Linux can do so; elsewhere it is the same command.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
