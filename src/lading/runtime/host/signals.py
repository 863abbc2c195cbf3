"""Signals in words, for sentences about processes that ended."""

from __future__ import annotations

import signal


def name_of_signal(number: int) -> str:
    """Return a signal as people look it up: ``SIGSEGV (11)``."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:  # a real-time signal has no name in Python
        return f"signal {number}"


def how_it_ended(code: int) -> str:
    """Return the exit code of `subprocess` in words: ``exit code 1``, ``SIGKILL (9)``."""
    return name_of_signal(-code) if code < 0 else f"exit code {code}"
