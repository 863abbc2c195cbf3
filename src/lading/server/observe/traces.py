"""Spans of requests for an OpenTelemetry collector, over OTLP/HTTP; the only file that imports OpenTelemetry.

A span is made when its request is over, in a thread of its own, which also sends it: a collector that cannot
be reached costs requests nothing. Whether a request is traced is decided by its caller; if that names no
trace, at random. The endpoint, headers, certificates and the resource are OpenTelemetry's own variables where
the settings do not say them.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from typing import Any

from lading.errors import LadingError, missing_extra
from lading.server.inference.callers import Callers
from lading.server.inference.dataplane import DataPlane
from lading.server.observe.backlog import Backlog
from lading.server.observe.request_record import Observed, RequestRecord, record_of

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        StatusCode,
        TraceFlags,
        TraceState,
        set_span_in_context,
    )
except ImportError as error:
    raise missing_extra("`--traces`", "otel", error) from None

log = logging.getLogger("lading.server")

_BATCH = 256
"""Requests whose spans are sent as one."""
_SERVER_ERROR = 500
_SERVER_ERRORS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""Statuses of gRPC that OpenTelemetry counts as the server's errors."""

CountSpans = Callable[[str, int], None]
"""Counts spans of requests by outcome: `exported`, `failed`, `dropped`."""


class Traces:
    """Makes and sends the span of each exchange that `observe` sees and that belongs to a sampled trace.

    Spans go to `endpoint`; if it is None, to the one that OpenTelemetry's variables name. Of requests whose
    callers name no trace, `share` begin one.
    """

    def __init__(
        self,
        plane: DataPlane,
        callers: Callers,
        endpoint: str | None,
        share: float,
        replica: str,
        count: CountSpans,
    ) -> None:
        self._plane = plane
        self._callers = callers
        self._share = share
        self._count = count
        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=endpoint)
        self._fails = False
        self._ids = _ChosenIds()
        self._ended = _EndedSpans()
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=_resource(replica), shutdown_on_exit=False, id_generator=self._ids
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("lading")
        self._backlog: Backlog[RequestRecord] = Backlog("traces", self._send)
        # Its own lines would come with every batch; ours comes once an outage.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)

    def observe(
        self, exchange: Observed, status: int | str, took_s: float, error: LadingError | None
    ) -> None:
        """Keep what the span of an exchange says, if its trace is sampled."""
        request = record_of(exchange, self._plane, status, took_s, error)
        if request.trace is None:
            if random.random() >= self._share:  # noqa: S311 - a sample, no secret
                return
            # Never 0, which is no trace.
            exchange.trace_id = f"{random.getrandbits(127) + 1:032x}"
            request = request._replace(trace_id=exchange.trace_id)
        elif not request.trace.is_sampled:
            return
        self._backlog.add(request)

    def close(self) -> None:
        """Send what waits, unless the collector is unreachable, and end."""
        if not self._fails:
            self._backlog.close(timeout_s=2.0)
        self._exporter.shutdown()  # This also ends a try that is under way.
        self._backlog.close(timeout_s=1.0)

    def _send(self, requests: list[RequestRecord]) -> None:
        if dropped := self._backlog.take_dropped():
            self._count("dropped", dropped)
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            for request in batch:
                self._make(request)
            if self._exporter.export(self._ended.take()) is not SpanExportResult.SUCCESS:
                # It was tried for seconds: the rest of this turn would only be tried as long.
                self._failed(len(requests) - start)
                return
            self._count("exported", len(batch))
            if self._fails:
                self._fails = False
                log.info("the collector of traces takes spans again")

    def _failed(self, count: int) -> None:
        self._count("failed", count)
        if not self._fails:
            self._fails = True
            log.warning("the collector of traces does not take spans; they are counted, and lost")

    def _make(self, request: RequestRecord) -> None:
        """Make the span of one request, and those of its queue and its run if it was queued."""
        # A run in the thread of its caller was not timed from its beginning: it is an attribute only.
        ended = int(request.ended_at * 1e9)
        began = ended - int(request.took_s * 1e9)
        # OpenTelemetry asks for an id only where no parent has one.
        self._ids.trace_id = int(request.trace_id, 16)
        span = self._tracer.start_span(
            _name(request),
            context=_context_of(request),
            kind=SpanKind.SERVER,
            attributes=dict(self._attributes(request)),
            start_time=began,
        )
        if _is_server_error(request.status):
            span.set_status(StatusCode.ERROR)
        ran = request.ran
        if ran is not None and ran.queued_s is not None:
            within = set_span_in_context(span)
            queued = began + int(ran.queued_at_s * 1e9)
            runs = queued + int(ran.queued_s * 1e9)
            self._tracer.start_span("queue", within, start_time=queued).end(runs)
            run = self._tracer.start_span("run", within, start_time=runs)
            run.set_attribute("lading.batch_rows", ran.batch_rows)
            run.end(runs + int(ran.run_s * 1e9))
        span.end(ended)

    def _attributes(self, request: RequestRecord) -> Iterator[tuple[str, Any]]:
        method, path, route = request.line
        if isinstance(request.status, int):
            yield from (("http.request.method", method), ("url.scheme", "http"), ("url.path", path))
            yield "http.response.status_code", request.status
            if route:
                yield "http.route", route
        else:
            yield from (("rpc.system.name", "grpc"), ("rpc.method", path.lstrip("/")))
            yield "rpc.response.status_code", request.status
        if caller := self._callers.address(request.address, request.forwarded):
            yield "client.address", caller
        if request.error:
            yield "error.type", request.error
        yield from (("lading.request_id", request.request_id), ("lading.protocol", request.protocol))
        if request.model:
            yield from (("lading.model", request.model), ("lading.version", request.version))
        if request.digest:
            yield "lading.digest", request.digest
        if request.side:
            yield "lading.side", request.side
        if request.ran is not None:
            yield from (("lading.rows", request.ran.rows), ("lading.batch_rows", request.ran.batch_rows))
            yield "lading.run_s", request.ran.run_s
            yield "lading.queue_s", request.ran.queued_s or 0.0


class _ChosenIds(RandomIdGenerator):
    """Begins the trace whose id was chosen when its request was answered."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id


class _EndedSpans(SpanProcessor):
    """Keeps the spans that have ended until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


def _resource(replica: str) -> Resource:
    # What the environment says wins: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`.
    ours = Resource({"service.name": "lading", "service.instance.id": replica})
    return ours.merge(OTELResourceDetector().detect())


def _name(request: RequestRecord) -> str:
    if not isinstance(request.status, int):
        return request.line.path.lstrip("/")
    # A path that no route takes would make names without end.
    return f"{request.line.method} {request.line.route}".rstrip()


def _context_of(request: RequestRecord) -> Any:
    """Return the caller's span as the parent, or None if the trace begins here."""
    trace = request.trace
    if trace is None:
        return None
    parent = SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([trace.state]) if trace.state else None,
    )
    return set_span_in_context(NonRecordingSpan(parent))


def _is_server_error(status: int | str) -> bool:
    return status >= _SERVER_ERROR if isinstance(status, int) else status in _SERVER_ERRORS
