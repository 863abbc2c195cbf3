"""Logging of a serving process: to stderr, in UTC, with the worker's number if there are several."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
import time

DUMP_STACKS_SIGNAL = signal.SIGUSR1
"""Has a process that hangs write its stack. One that runs may crash by it: only before it is killed."""

_STDERR = 2


def set_up_logging(level: str, worker: int = 0) -> None:
    """Log from `level` on. The serving process calls this; nothing does on import."""
    handler = logging.StreamHandler(sys.stderr)
    prefix = f"worker {worker}: " if worker else ""
    formatter = logging.Formatter(f"%(asctime)s %(levelname)s {prefix}%(message)s", "%Y-%m-%dT%H:%M:%SZ")
    # As the registry writes times, so that the logs of several machines and its history line up.
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger("lading")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.handlers[:] = [handler]
    uvicorn.setLevel(logging.WARNING)


def show_stacks() -> None:
    """Write all stacks to stderr on a native crash, and the main thread's on `DUMP_STACKS_SIGNAL`."""
    faulthandler.enable(_STDERR)  # By number, because the `sys.stderr` of a notebook has no descriptor.
    # The main thread alone: walking the frames of running threads crashes the process now and then.
    faulthandler.register(DUMP_STACKS_SIGNAL, _STDERR, all_threads=False)
