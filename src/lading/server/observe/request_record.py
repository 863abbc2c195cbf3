"""One request that has been answered, without its body: what the access log and traces know of it.

Nothing of a request's values is in it. Keeps no reference to the exchange, whose arrays would stay with it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from lading.access import Caller
from lading.errors import LadingError
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.observe.trace_context import TRACEPARENT, TraceContext, trace_context

FORWARDED = b"x-forwarded-for"
_LONGEST_TEXT = 512


class RequestLine(NamedTuple):
    """What was called: ``route`` is the pattern of the path, empty if no route takes it.

    A gRPC call has the method "gRPC" and its full method as path and route.
    """

    method: str
    path: str
    route: str


class Observed(Protocol):
    """What is read of an `Exchange`, whatever its transport."""

    headers: Mapping[bytes, bytes]
    route: Any
    request_id: bytes
    trace_id: str
    began: float
    received_bytes: int
    sent_bytes: int
    plane: DataPlane | None
    job: Job | None
    caller: Caller | None

    def address(self) -> str:
        """Return the address at the other end."""

    def request_line(self) -> RequestLine:
        """Return what was called."""

    def target(self) -> tuple[str | None, int | None, str | None] | None:
        """Return the model, version and tag that a refused request asked for."""


class Ran(NamedTuple):
    """How a request's rows ran. ``queued_at_s`` counts from the beginning of the request.

    ``queued_s`` is None if the job was not queued; ``batch_rows`` are the rows that ran as one.
    """

    rows: int
    run_s: float
    batch_rows: int
    queued_at_s: float = 0.0
    queued_s: float | None = None


class RequestRecord(NamedTuple):
    """One answered request. ``ended_at`` is Unix time; ``version`` is 0 for a bundle from its directory.

    ``side`` is "live" or "candidate" of a release, else empty. ``ran`` is None if the model was not asked.
    ``identity`` is the caller's name, if access is controlled. ``forwarded`` is the caller's
    `X-Forwarded-For`, ``trace`` the trace that the caller has named.
    """

    line: RequestLine
    protocol: str
    status: int | str
    error: str
    request_id: str
    ended_at: float
    took_s: float
    received_bytes: int
    sent_bytes: int
    model: str
    version: int
    digest: str
    side: str
    ran: Ran | None
    address: str
    forwarded: bytes | None
    trace: TraceContext | None
    trace_id: str
    identity: str = ""


def record_of(
    exchange: Observed, plane: DataPlane, status: int | str, took_s: float, error: LadingError | None
) -> RequestRecord:
    """Take from an exchange that is over what may be kept of it; `plane` knows the sides of releases."""
    # The job is let go with the answer; what is kept of it is copied here.
    job, headers, route = exchange.job, exchange.headers, exchange.route
    model, version, digest = "", 0, ""
    if job is not None:
        model, version, digest = job.served.key
    elif (target := exchange.target()) is not None:
        model, version = (target[0] or plane.default_model)[:_LONGEST_TEXT], target[1] or 0
    method, path, pattern = exchange.request_line()
    # Most requests have none: the test of a key is a hundredth of the match.
    trace = trace_context(headers) if TRACEPARENT in headers else None
    return RequestRecord(
        line=RequestLine(method[:_LONGEST_TEXT], path[:_LONGEST_TEXT], pattern),
        protocol=route.protocol if route is not None else "http",
        status=status,
        error=type(error).__name__ if error is not None else "",
        request_id=exchange.request_id.decode("latin-1"),
        ended_at=time.time(),
        took_s=took_s,
        received_bytes=exchange.received_bytes,
        sent_bytes=exchange.sent_bytes,
        model=model,
        version=version,
        digest=digest,
        side=_side(plane, model, version) if job is not None else "",
        ran=_ran(job, exchange.began) if job is not None and job.outcome is not None else None,
        address=exchange.address(),
        forwarded=headers.get(FORWARDED),
        trace=trace,
        trace_id=exchange.trace_id or (trace.trace_id if trace is not None else ""),
        identity=exchange.caller.name if exchange.caller is not None else "",
    )


def _side(plane: DataPlane, model: str, version: int) -> str:
    traffic = plane.traffic.get(model)
    if traffic is None:
        return ""
    return "candidate" if version == traffic.candidate else "live" if version == traffic.live else ""


def _ran(job: Job, began: float) -> Ran:
    batch = job.batch
    # A job that ran alone in the thread of its caller has no record of a batch.
    if batch is None:
        return Ran(job.rows, job.run_s, job.rows)
    queued_at_s = job.queued_at - began if batch.queued_s is not None else 0.0
    return Ran(job.rows, job.run_s, batch.rows, queued_at_s, batch.queued_s)
