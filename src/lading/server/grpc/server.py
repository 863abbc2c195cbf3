"""Serves gRPC in threads: start-up, one call, drain. Knows no protocol and no model.

Threads rather than asyncio, because grpcio answers twice as many calls that way, and because a call that
waits for a batch then costs nothing else. A thread is taken once the message of a call has come.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import grpc

from lading.access import SERVER_FACTS
from lading.access.tls import Tls
from lading.errors import LadingError, ModelNotReady
from lading.runtime.host.descriptors import connection_budget
from lading.server.exchange import Pipeline
from lading.server.grpc import Call, Method, Service, descriptors, details_of, no_model, status_of
from lading.server.grpc.calls import CallExchange, CallRoute, read_message, shortened
from lading.server.grpc.connections import Connections
from lading.server.grpc.encryption import call_names, credentials
from lading.server.grpc.executor import CallThreads
from lading.server.grpc.health import Health
from lading.server.grpc.open_calls import OpenCalls
from lading.server.grpc.reflection import NAMES, Reflection
from lading.server.grpc.server_call import Dispatcher, ServerCall, handlers
from lading.server.grpc.streams import Stream, StreamedExchange, Streams
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.server.inference.request_memory import COUNTED_BYTES, Reservation
from lading.settings import ServeSettings

Begin = Callable[[ServerCall], None]
_Call = TypeVar("_Call", bound=CallExchange)

_MOST_PENDING = 1_000_000
"""Calls that may wait in grpcio until they are looked at; as many as there may be are bounded elsewhere."""

_GREETING_MS = 20_000
_REFLECT = "ServerReflectionInfo"

_TURN_S = 0.1
"""How much later than a change a watcher may learn of it, and how late a time limit may be kept."""


class GrpcServer:
    """The services on one port, with health checking and reflection."""

    def __init__(self, pipeline: Pipeline, settings: ServeSettings, services: Iterable[Service]) -> None:
        self._pipeline = pipeline
        self._counting = threading.Lock()
        self._reading = threading.Lock()  # of large messages
        # Calls that wait for a thread wait in no queue of a model, and must not grow without end either.
        self._threads = CallThreads(settings.grpc_threads, settings.max_queue)
        self._calls = OpenCalls(settings, self._threads, pipeline.metrics.count_grpc_ended)
        self._streams = Streams(self._threads, self._calls)
        most_connections = settings.grpc_max_connections or connection_budget()
        self._connections = Connections(most_connections)
        self._server = grpc.server(Dispatcher(), options=_options(settings, most_connections))
        services = tuple(services)
        for service in services:
            self._server.add_generic_rpc_handlers((self._handler(service),))
        names = [service.name for service in services]
        self._health = Health(pipeline.plane, names, self._calls)
        answer = Reflection([*names, self._health.name]).answer
        reflections = (
            handlers(name, {_REFLECT: self._admitted(name, lambda call: self._streams.open(call, answer))})
            for name in NAMES
        )
        self._server.add_generic_rpc_handlers((self._health.handler(), *reflections))
        self._ended = threading.Event()

    def start(self, host: str, port: int, tls: Tls | None = None) -> int:
        """Listen and answer; return the port. Raises `OSError` if the address is taken."""
        try:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials(tls))
        except RuntimeError as error:
            raise OSError(str(error)) from None
        self._connections.port = int(bound)
        self._server.start()
        threading.Thread(target=self._watch, name="grpc watch", daemon=True).start()
        return int(bound)

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and finish those in flight within `grace_s`."""
        stopped = self._server.stop(grace_s)
        self._streams.stop()
        self._health.stop()
        self._calls.stop()
        stopped.wait()
        self._ended.set()
        self._threads.stop()

    def _watch(self) -> None:
        while not self._ended.wait(_TURN_S):
            self._health.refresh()
            self._calls.sweep()
            for peer in self._connections.shut_down_surplus(self._calls.busy_peers):
                self._calls.note(peer, "too_many_connections", "cut off: idle, and too many connections")

    def _handler(self, service: Service) -> grpc.GenericRpcHandler:
        methods = {}
        described = descriptors.service(service.protos, service.name).methods_by_name
        for method in service.methods:
            kind = descriptors.message(service.protos, described[method.name].input_type.full_name)
            make = self._method if method.frame is None else self._stream
            methods[method.name] = make(service, method, kind)
        return handlers(service.name, methods)

    def _route(self, service: Service, method: Method) -> CallRoute:
        def handle(call: CallExchange, plane: DataPlane) -> Any:
            return method.answer(call.message, Call(plane, self._pipeline.metrics))

        name = f"/{service.name}/{method.name}"
        return CallRoute(name, service.protocol, handle, service.details, method.rule, method.models)

    def _method(self, service: Service, method: Method, kind: Any) -> Begin:
        route, calls, threads = self._route(service, method), self._calls, self._threads

        # Bytes come in and go out: read and written here they are counted once, and refused in our words.
        def answered(call: ServerCall, data: bytes) -> None:
            self._answer(call, self._identified(CallExchange(route, call.context, data)), kind.FromString)

        def received(call: ServerCall, data: bytes | None) -> None:
            if data is None:
                details = f"`{method.name}` takes one message, and none came"
                call.finish(calls.reading, code=grpc.StatusCode.UNIMPLEMENTED, details=details)
            elif not threads.submit(call, answered, data):
                calls.end_unqueued(call)

        def begin(call: ServerCall) -> None:
            if self._is_admitted(call, route):
                calls.receive(call, received)

        return begin

    def _stream(self, service: Service, method: Method, kind: Any) -> Begin:
        route, frame = self._route(service, method), method.frame
        assert frame is not None

        def begin(call: ServerCall) -> None:
            stream = Stream(call)

            def answer(data: bytes) -> bytes:
                with stream.answering(
                    self._identified(StreamedExchange(route, call.context, data))
                ) as exchange:
                    response, details = self._answer_in_stream(stream, exchange, kind.FromString)
                    framed = frame(response, details, exchange.message, stream.facts(exchange))
                    answer: bytes = framed.SerializeToString()
                    return answer

            if self._is_admitted(call, route):
                self._streams.open(call, answer)

        return begin

    def _admitted(self, service: str, begin: Begin) -> Begin:
        """Return what begins a call of a service without models, for callers who are known."""
        route = CallRoute(f"/{service}/{_REFLECT}", "reflection", _never, details_of, SERVER_FACTS, no_model)

        def begin_admitted(call: ServerCall) -> None:
            if self._is_admitted(call, route):
                begin(call)

        return begin_admitted

    def _identified(self, call: _Call) -> _Call:
        """Return a call with the names of its client's certificate, if callers are known by them."""
        access = self._pipeline.access
        if access is not None and access.takes_certificates:
            call.certificate = call_names(call.context)
        return call

    def _is_admitted(self, opened: ServerCall, route: CallRoute) -> bool:
        """Refuse a call before its message is read, if its caller may do so on no model."""
        access = self._pipeline.access
        if access is None:
            return True
        call = self._identified(CallExchange(route, opened.context, b""))
        self._pipeline.identify(call, call.headers.get(b"x-request-id"))
        try:
            access.admit(call)
        except LadingError as error:
            self._calls.add(opened)
            self._refuse(opened, call, error)
            return False
        return True

    def _answer_in_stream(
        self, stream: Stream, call: CallExchange, read: Callable[[bytes], Any]
    ) -> tuple[Any, str]:
        """Return the response to one message of a stream, or None and what went wrong: the stream goes on."""
        pipeline = self._pipeline
        pipeline.identify(call, stream.next_request_id())
        outcome, details, status, error = None, "", "OK", None
        try:
            outcome = self._handle(call, read)
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

    def _answer(self, opened: ServerCall, call: CallExchange, read: Callable[[bytes], Any]) -> None:
        """End a call with its response, or with the status of what went wrong."""
        pipeline = self._pipeline
        pipeline.identify(call, call.headers.get(b"x-request-id"))
        try:
            outcome = self._handle(call, read)
            if isinstance(outcome, Job):
                outcome = self._run(call, outcome)
            answer: bytes = outcome.SerializeToString()
        except Exception as error:  # noqa: BLE001 - `as_refusal` logs what is no refusal
            self._refuse(opened, call, pipeline.as_refusal(call, error))
            return
        self._end(call, "OK", len(answer))
        opened.finish(self._calls.reading, answer)

    def _handle(self, call: CallExchange, read: Callable[[bytes], Any]) -> Any:
        """Read the message and handle it; large ones one at a time, as each takes many times its size."""
        size = len(call.data)
        if size < COUNTED_BYTES:
            call.message = read_message(read, call.data)
            return self._pipeline.handle(call)
        call.reservation = Reservation(self._pipeline.plane.memory)
        call.reservation.receive(size)
        with self._reading:
            call.message = read_message(read, call.data)
            return self._pipeline.handle(call)

    def _run(self, call: CallExchange, job: Job) -> Any:
        run, pipeline = self._pipeline.plane.run, self._pipeline
        try:
            outputs = run(job, call.patience)
        except ModelNotReady:
            job = pipeline.handle_again(call)
            outputs = run(job, call.patience)
        if job.rows > job.served.loaded.small_rows:  # type: ignore[union-attr]  # it has run
            pipeline.reserve_answer(call, job, outputs)
            # It waits in grpcio until the client has read it, or is gone. A stream sends one at a time.
            if call.reservation is not None and not isinstance(call, StreamedExchange):
                call.context.add_callback(partial(_keep, call.reservation))
        return job.encode(outputs)

    def _refuse(self, opened: ServerCall, call: CallExchange, error: LadingError) -> None:
        status = status_of(error)
        if call.is_cancelled():  # Nobody reads this, but it is counted, and not as an error of ours.
            self._end(call, "CANCELLED", 0)
        else:
            self._end(call, status.name, 0, error)
        details = shortened(call.route.details(error))
        opened.finish(self._calls.reading, code=status, details=details)

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


def _never(call: CallExchange, _plane: DataPlane) -> Any:
    raise NotImplementedError(call.route.method)


def _keep(_reservation: Reservation | None) -> None:
    """Keep what a callback refers to until the call has ended."""


def _options(settings: ServeSettings, most_connections: int) -> list[tuple[str, int]]:
    age_s, idle_s = settings.grpc_max_connection_age_s, settings.grpc_max_connection_idle_s
    client_timeout_ms = int(settings.grpc_client_timeout_s * 1000)
    # Calls in flight on a connection that has reached its age have as long as when the server drains.
    aging = [
        ("grpc.max_connection_age_ms", age_s * 1000),
        ("grpc.max_connection_age_grace_ms", int(settings.drain_timeout_s * 1000)),
    ]
    return [
        *(aging if age_s else ()),
        *([("grpc.max_connection_idle_ms", idle_s * 1000)] if idle_s else ()),
        ("grpc.max_allowed_incoming_connections", most_connections),
        # A client has that long to greet with HTTP/2, and to answer a ping when it has been silent.
        ("grpc.server_handshake_timeout_ms", min(client_timeout_ms, _GREETING_MS)),
        ("grpc.keepalive_time_ms", max(client_timeout_ms, _GREETING_MS)),
        ("grpc.keepalive_timeout_ms", _GREETING_MS),
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
        # Of one connection: no client has all of them.
        ("grpc.max_concurrent_streams", max(1, settings.grpc_max_open_calls // 8)),
        # Calls that were reset before they were taken count here as well, and would cost others theirs.
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
        # Clients behind load balancers ping often; grpcio's own limit of five minutes would cut them off.
        ("grpc.http2.min_ping_interval_without_data_ms", int(settings.grpc_min_ping_interval_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
