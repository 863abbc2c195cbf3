"""The caller's trace, as W3C Trace Context writes it (https://www.w3.org/TR/trace-context/).

Reads headers alone; makes no spans (`traces`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"

_SAMPLED = 1
_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST = 512
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16


class TraceContext(NamedTuple):
    """Trace and span of the caller in lower-case hexadecimal digits, and whether it records the trace.

    ``state`` is its `tracestate`, which is passed on as it is.
    """

    trace_id: str
    span_id: str
    is_sampled: bool
    state: str = ""


def trace_context(headers: Mapping[bytes, bytes]) -> TraceContext | None:
    """Return the trace that a request belongs to, or None if its headers name none that is valid."""
    text = headers.get(TRACEPARENT)
    if text is None or len(text) > _LONGEST:
        return None
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    # Versions to come may add fields at the end; the first one has none, and `ff` is no version.
    if version == b"ff" or (version == b"00" and more) or trace == _NO_TRACE or span == _NO_SPAN:
        return None
    state = headers.get(TRACESTATE, b"")[:_LONGEST].decode("latin-1")
    return TraceContext(trace.decode(), span.decode(), bool(int(flags, 16) & _SAMPLED), state)


def trace_id(headers: Mapping[bytes, bytes]) -> str:
    """Return the id of the trace that a request belongs to, or nothing."""
    context = trace_context(headers) if TRACEPARENT in headers else None
    return context.trace_id if context is not None else ""
