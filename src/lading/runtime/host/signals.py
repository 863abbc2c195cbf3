"""How processes end: signals in words, and a process that ends with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PARENT_DEATH_SIGNAL = 1  # prctl(2), PR_SET_PDEATHSIG


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
