"""Serves gRPC in threads: start-up, one call, drain. Knows no protocol and no model.

Threads rather than asyncio, because grpcio answers twice as many calls that way, and because a call that
waits for a batch then costs nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from lading.errors import LadingError, ModelNotReady
from lading.server.exchange import Pipeline
from lading.server.grpc import Call, Method, Service, descriptors, status_of
from lading.server.grpc.calls import CallExchange, CallRoute, read_message, shortened
from lading.server.grpc.executor import CallThreads
from lading.server.grpc.health import Health
from lading.server.grpc.reflection import add_reflection
from lading.server.grpc.streams import Stream, Streams
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.settings import ServeSettings

Run = Callable[[bytes, grpc.ServicerContext], bytes]
RunStream = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]


class GrpcServer:
    """The services on one port, with health checking and reflection."""

    def __init__(self, pipeline: Pipeline, settings: ServeSettings, services: Iterable[Service]) -> None:
        self._pipeline = pipeline
        self._counting = threading.Lock()
        self._threads = CallThreads(settings.grpc_threads)
        # A stream occupies a thread for as long as it is open: half of them stay for other calls.
        self._streams = Streams(max(1, settings.grpc_threads // 2))
        # Calls that wait for a thread wait in no queue of a model, and must not grow without end either.
        most = settings.grpc_threads + settings.max_queue
        self._server = grpc.server(self._threads, options=_options(settings), maximum_concurrent_rpcs=most)
        services = tuple(services)
        for service in services:
            self._server.add_generic_rpc_handlers((self._handler(service),))
        names = [service.name for service in services]
        self._health = Health(pipeline.plane, names)
        self._health.add_to(self._server)
        add_reflection(self._server, [*names, self._health.name])

    def start(self, host: str, port: int) -> int:
        """Listen and answer; return the port. Raises `OSError` if the address is taken."""
        try:
            bound = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(str(error)) from None
        self._server.start()
        self._health.start()
        return int(bound)

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and finish those in flight within `grace_s`."""
        self._health.stop()
        stopped = self._server.stop(grace_s)
        self._streams.stop()
        stopped.wait()
        self._threads.stop()

    def _handler(self, service: Service) -> grpc.GenericRpcHandler:
        methods = {}
        described = descriptors.service(service.protos, service.name).methods_by_name
        for method in service.methods:
            kind = descriptors.message(service.protos, described[method.name].input_type.full_name)
            if method.frame is None:
                handler = grpc.unary_unary_rpc_method_handler(self._method(service, method, kind))
            else:
                handler = grpc.stream_stream_rpc_method_handler(self._stream(service, method, kind))
            methods[method.name] = handler
        return grpc.method_handlers_generic_handler(service.name, methods)

    def _route(self, service: Service, method: Method) -> CallRoute:
        def handle(call: CallExchange, plane: DataPlane) -> Any:
            return method.answer(call.message, Call(plane, self._pipeline.metrics))

        return CallRoute(service.protocol, handle, service.details)

    def _method(self, service: Service, method: Method, kind: Any) -> Run:
        route = self._route(service, method)

        # Bytes come in and go out: read and written here they are counted once, and refused in our words.
        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            return self._answer(CallExchange(route, context, data), kind.FromString)

        return answer

    def _stream(self, service: Service, method: Method, kind: Any) -> RunStream:
        route, frame = self._route(service, method), method.frame
        assert frame is not None

        def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            with self._streams.opened(context) as stream:
                for call in stream.calls(route, requests):
                    response, details = self._answer_in_stream(stream, call, kind.FromString)
                    framed = frame(response, details, call.message, stream.facts(call))
                    yield framed.SerializeToString()

        return answer

    def _answer_in_stream(
        self, stream: Stream, call: CallExchange, read: Callable[[bytes], Any]
    ) -> tuple[Any, str]:
        """Return the response to one message of a stream, or None and what went wrong: the stream goes on."""
        pipeline = self._pipeline
        pipeline.identify(call, stream.next_request_id())
        outcome, details, status, error = None, "", "OK", None
        try:
            call.message = read_message(read, call.data)
            outcome = pipeline.handle(call)
            if isinstance(outcome, Job):
                outcome = self._run(call, outcome)
        except Exception as raised:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            outcome, error = None, pipeline.as_refusal(call, raised)
            details, status = shortened(call.route.details(error)), status_of(error).name
            if call.is_cancelled():
                status, error = "CANCELLED", None
        with self._counting:
            pipeline.observe(call, status, len(call.data), outcome.ByteSize() if outcome else 0, error)
        return outcome, details

    def _answer(self, call: CallExchange, read: Callable[[bytes], Any]) -> bytes:
        """Return the response, or end the call with the status of what went wrong."""
        pipeline = self._pipeline
        pipeline.identify(call, call.headers.get(b"x-request-id"))
        try:
            call.message = read_message(read, call.data)
            outcome = pipeline.handle(call)
            if isinstance(outcome, Job):
                outcome = self._run(call, outcome)
            answer: bytes = outcome.SerializeToString()
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            self._refuse(call, pipeline.as_refusal(call, error))
        self._end(call, "OK", len(answer))
        return answer

    def _run(self, call: CallExchange, job: Job) -> Any:
        run, pipeline = self._pipeline.plane.run, self._pipeline
        try:
            outputs = run(job, call.patience)
        except ModelNotReady:
            job = pipeline.handle_again(call)
            outputs = run(job, call.patience)
        return job.encode(outputs)

    def _refuse(self, call: CallExchange, error: LadingError) -> None:
        status = status_of(error)
        if call.is_cancelled():  # Nobody reads this, but it is counted, and not as an error of ours.
            self._end(call, "CANCELLED", 0)
        else:
            self._end(call, status.name, 0, error)
        call.context.abort(status, shortened(call.route.details(error)))

    def _end(
        self, call: CallExchange, status: str, sent_bytes: int, error: LadingError | None = None
    ) -> None:
        model = call.job.served.loaded if call.job is not None else None
        with self._counting:  # Many threads count into one place; adding is not atomic in Python.
            self._pipeline.observe(call, status, len(call.data), sent_bytes, error)
        metadata = (
            *(model.metadata if model is not None else ()),
            ("x-request-id", call.request_id.decode("latin-1")),
        )
        if self._pipeline.adds_headers:
            added = self._pipeline.answer_headers(call)
            decoded = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in added)
            metadata = (*metadata, *decoded)
        call.context.set_trailing_metadata(metadata)
        # A job and its call name each other: left so, only the garbage collector frees them and their arrays.
        call.job = None


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    age_s = settings.grpc_max_connection_age_s
    # Calls in flight on a connection that has reached its age have as long as when the server drains.
    aging = [
        ("grpc.max_connection_age_ms", age_s * 1000),
        ("grpc.max_connection_age_grace_ms", int(settings.drain_timeout_s * 1000)),
    ]
    return [
        *(aging if age_s else ()),
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
        # Clients behind load balancers ping often; grpcio's own limit of five minutes would cut them off.
        ("grpc.http2.min_ping_interval_without_data_ms", int(settings.grpc_min_ping_interval_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
