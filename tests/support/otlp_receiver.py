"""A collector of traces as OpenTelemetry's protocol has it: OTLP over HTTP, decoded by its own messages."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from support.waiting import wait_until


@dataclass
class Collector:
    """What has arrived at ``url``: spans with their attributes, and the resources that sent them.

    While ``status`` is not 200 every request is refused with it.
    """

    url: str = ""
    status: int = 200
    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def wait(self, count: int, within_s: float = 20.0) -> list[Any]:
        """Wait until `count` spans of requests have arrived; return them."""
        wait_until(lambda: len(self.servers()) >= count, within_s, lambda: self.spans)
        return self.servers()

    def servers(self) -> list[Any]:
        return [span for span in self.spans if span.kind == span.SPAN_KIND_SERVER]


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of a span or resource as plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in item.attributes}


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector on a free port of this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.asked += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path != "/v1/traces" or collector.status != 200:
                self.send_error(collector.status if collector.status != 200 else 404)
                return
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                collector.resources.append(attributes(resource.resource))
                for scope in resource.scope_spans:
                    collector.spans.extend(scope.spans)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
