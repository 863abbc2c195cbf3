"""Where the server's words go: stderr, a line each, with the worker's number where there are several."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys

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
    """Show on stderr what every thread stands at: on SIGUSR1, which ends nothing, and on a native crash."""
    faulthandler.enable(_STDERR)  # By its number: the `sys.stderr` of a notebook has none.
    faulthandler.register(signal.SIGUSR1, _STDERR)
