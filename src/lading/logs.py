"""Logging of a serving process: to stderr, in UTC, as lines of text or as one JSON object a line.

Two things are written to stderr past it, and as text: the stacks of `show_stacks`, and what native libraries
write there themselves.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec

DUMP_STACKS_SIGNAL = signal.SIGUSR1
"""Has a process that hangs write its stack. One that runs may crash by it: only before it is killed."""

_STDERR = 2
_encoder = msgspec.json.Encoder(enc_hook=str)
_TIME = "%Y-%m-%dT%H:%M:%SZ"
"""As the registry writes times, so that the logs of several machines and its history line up."""

log = logging.getLogger("lading.server")


def set_up_logging(level: str, worker: int = 0, log_format: str = "text") -> None:
    """Log from `level` on, as "text" or "json". The serving process calls this; nothing does on import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(worker) if log_format == "json" else _text_formatter(worker))
    lading = logging.getLogger("lading")
    lading.handlers[:] = [handler]
    lading.setLevel(level.upper())
    lading.propagate = False
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.handlers[:] = [handler]
    uvicorn.setLevel(logging.WARNING)
    uvicorn.propagate = False  # The root logger has a handler, too, in JSON.
    if log_format == "json":
        _catch_the_rest(handler)


def fields(**values: Any) -> dict[str, Any]:
    """Return the ``extra`` of a log call that names what its line is about; only JSON shows it."""
    return {"fields": values}


def json_line(
    at: float, level: str, logger: str, worker: int, message: str, values: Mapping[str, Any]
) -> str:
    """Return one line of the log as JSON; of `values` those that are None or empty are left out."""
    line = {"time": _time(at), "level": level, "logger": logger, "worker": worker, "message": message}
    line |= {name: value for name, value in values.items() if value not in (None, "")}
    try:
        return _encoder.encode(line).decode()
    except UnicodeEncodeError:  # A lone surrogate, of a file's name for example.
        return json.dumps(line, default=str)


def text_prefix(at: float, level: str, worker: int) -> str:
    """Return how a line of text begins: its time, its level, and the worker if there are several."""
    return f"{_time(at)} {level.upper()} {_named(worker)}"


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object, with the `fields` that its call named and its exception."""

    def __init__(self, worker: int) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        values: dict[str, Any] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            values["stack"] = record.stack_info
        level, message = record.levelname.lower(), record.getMessage()
        return json_line(record.created, level, record.name, self._worker, message, values)


def _text_formatter(worker: int) -> logging.Formatter:
    formatter = logging.Formatter(f"%(asctime)s %(levelname)s {_named(worker)}%(message)s", _TIME)
    formatter.converter = time.gmtime
    return formatter


def _time(at: float) -> str:
    return time.strftime(_TIME, time.gmtime(at))


def _named(worker: int) -> str:
    return f"worker {worker}: " if worker else ""


def _catch_the_rest(handler: logging.Handler) -> None:
    """Write what other libraries warn of, and what ends a thread, through `handler` as well."""
    root = logging.getLogger()
    for earlier in root.handlers[:]:
        if isinstance(earlier.formatter, JsonFormatter):
            root.removeHandler(earlier)
    root.addHandler(handler)
    # Else Python prints both by itself, in lines of its own form.
    logging.captureWarnings(capture=True)

    def ended(failure: threading.ExceptHookArgs) -> None:
        thread = failure.thread.name if failure.thread is not None else "unknown"
        if failure.exc_value is not None:
            log.error("the thread `%s` ended by an exception", thread, exc_info=failure.exc_value)

    threading.excepthook = ended


def show_stacks() -> None:
    """Write all stacks to stderr on a native crash, and the main thread's on `DUMP_STACKS_SIGNAL`."""
    faulthandler.enable(_STDERR)  # By number, because the `sys.stderr` of a notebook has no descriptor.
    # The main thread alone: walking the frames of running threads crashes the process now and then.
    faulthandler.register(DUMP_STACKS_SIGNAL, _STDERR, all_threads=False)
