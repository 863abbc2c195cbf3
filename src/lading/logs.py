"""Where the server's words go: stderr, a line each, with the worker's number where there are several."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys

DUMP_STACKS_SIGNAL = signal.SIGUSR1
"""Asks a process that hangs what it stands at. One that runs may crash by it: only for those to be killed."""

_STDERR = 2


def set_up_logging(level: str, worker: int = 0) -> None:
    """Log from `level` on; called by the process that serves, never on import."""
    handler = logging.StreamHandler(sys.stderr)
    who = f"worker {worker}: " if worker else ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {who}%(message)s", "%H:%M:%S"))
    root = logging.getLogger("lading")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.handlers[:] = [handler]
    uvicorn.setLevel(logging.WARNING)


def show_stacks() -> None:
    """Show on stderr what the threads stood at in a native crash, and the main thread on `DUMP_STACKS_SIGNAL`."""
    faulthandler.enable(_STDERR)  # By its number: the `sys.stderr` of a notebook has none.
    # One thread alone: walking the frames of threads that run crashes the process now and then.
    faulthandler.register(DUMP_STACKS_SIGNAL, _STDERR, all_threads=False)
