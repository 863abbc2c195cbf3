"""Where the server's words go: stderr, a line each, with the worker's number where there are several."""

from __future__ import annotations

import logging
import sys


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
