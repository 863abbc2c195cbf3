"""The access log: one line for each request over any transport, off unless it is asked for.

Lines are made and written by a thread of their own. No body, no value of a column, no query and no key of a
caller is in them.
"""

from __future__ import annotations

import logging
import select
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from lading.errors import LadingError
from lading.logs import json_line, text_prefix
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.observe.backlog import Backlog
from lading.server.observe.request_record import Observed, RequestRecord, record_of

log = logging.getLogger("lading.server")

LOGGER = "lading.access"

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/{}+,@*~%")


class AccessLog:
    """Writes a line to stderr for each exchange that `observe` sees, as text or as JSON."""

    def __init__(
        self,
        plane: DataPlane,
        callers: Callers,
        log_format: str = "text",
        stream: TextIO | None = None,
    ) -> None:
        self._plane = plane
        self._callers = callers
        self._is_json = log_format == "json"
        self._stream = stream
        self._backlog: Backlog[RequestRecord] = Backlog("access log", self._write)

    def observe(
        self, exchange: Observed, status: int | str, took_s: float, error: LadingError | None
    ) -> None:
        """Keep what the line of an exchange says until the thread writes it."""
        self._backlog.add(record_of(exchange, self._plane, status, took_s, error))

    def close(self) -> None:
        """Write what waits, and end."""
        self._backlog.close()

    def _write(self, requests: list[RequestRecord]) -> None:
        line = self._json if self._is_json else self._text
        # Looked up late: a test, or a notebook, may have replaced it.
        stream = self._stream or sys.stderr
        for piece in _pieces(map(line, requests)):
            stream.write(piece)
            stream.flush()
        if dropped := self._backlog.take_dropped():
            log.warning("%d lines of the access log were dropped: more requests than it can write", dropped)

    def _json(self, request: RequestRecord) -> str:
        message = f"{request.line.method} {request.line.path} {request.status}"
        values = self._values(request)
        return json_line(request.ended_at, "info", LOGGER, self._plane.worker, message, values)

    def _text(self, request: RequestRecord) -> str:
        values = self._values(request)
        # What stands at the front of the line, and the pattern, which is in the path for people to see.
        for name in ("method", "path", "status", "route"):
            del values[name]
        words = [f"{name}={_word(value)}" for name, value in values.items() if value not in (None, "")]
        line = request.line
        prefix = text_prefix(request.ended_at, "info", self._plane.worker)
        return f"{prefix}{_word(line.method)} {_word(line.path)} {request.status} {' '.join(words)}"

    def _values(self, request: RequestRecord) -> dict[str, Any]:
        line, ran = request.line, request.ran
        return {
            "method": line.method,
            "path": line.path,
            "route": line.route,
            "protocol": request.protocol,
            "status": request.status,
            "ms": round(request.took_s * 1000, 3),
            "received_bytes": request.received_bytes,
            "sent_bytes": request.sent_bytes,
            "model": request.model,
            "version": request.version if request.model else None,
            "side": request.side,
            "rows": ran.rows if ran is not None else None,
            "error": request.error,
            **({"identity": request.identity} if request.identity else {}),
            "caller": self._callers.address(request.address, request.forwarded),
            "request_id": request.request_id,
            "trace_id": request.trace_id,
        }


def _pieces(lines: Iterable[str]) -> Iterable[str]:
    """Join lines to pieces that a pipe takes whole: of workers that share one, no two lines mix."""
    # POSIX: writes of up to PIPE_BUF bytes to a pipe are not torn.
    piece, size = "", 0
    for line in lines:
        line_bytes = (len(line) if line.isascii() else len(line.encode("utf-8", "replace"))) + 1
        if piece and size + line_bytes > select.PIPE_BUF:
            yield piece
            piece, size = "", 0
        piece, size = f"{piece}{line}\n", size + line_bytes
    if piece:
        yield piece


def _word(value: Any) -> str:
    """Return a value as one word; what callers write is escaped where it could look like more than that."""
    text = str(value)
    if _PLAIN.issuperset(text):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
