"""Serves gRPC in threads: start-up, one call, drain. Knows no protocol and no model.

Threads rather than asyncio, because grpcio answers twice as many calls that way, and because a call that
waits for a batch then costs nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from lading.errors import BodyInvalid, LadingError, ModelNotReady
from lading.ref import version_number
from lading.server.exchange import Exchange, Pipeline
from lading.server.grpc import Call, Method, Service, descriptors, status_of
from lading.server.grpc.executor import CallThreads
from lading.server.grpc.health import Health
from lading.server.grpc.reflection import add_reflection
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job
from lading.settings import ServeSettings

_LONGEST_DETAILS = 2000  # Bytes, of which each may take three on the wire.

Run = Callable[[bytes, grpc.ServicerContext], bytes]


class GrpcServer:
    """The services on one port, with health checking and reflection."""

    def __init__(self, pipeline: Pipeline, settings: ServeSettings, services: Iterable[Service]) -> None:
        self._pipeline = pipeline
        self._counting = threading.Lock()
        self._threads = CallThreads(settings.grpc_threads)
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
        self._server.stop(grace_s).wait()
        self._threads.stop()

    def _handler(self, service: Service) -> grpc.GenericRpcHandler:
        methods = {}
        described = descriptors.service(service.protos, service.name).methods_by_name
        for method in service.methods:
            kind = descriptors.message(service.protos, described[method.name].input_type.full_name)
            methods[method.name] = grpc.unary_unary_rpc_method_handler(self._method(service, method, kind))
        return grpc.method_handlers_generic_handler(service.name, methods)

    def _method(self, service: Service, method: Method, kind: Any) -> Run:
        def handle(call: CallExchange, plane: DataPlane) -> Any:
            return method.answer(call.message, Call(plane, self._pipeline.metrics))

        route = CallRoute(service.protocol, handle, service.details)

        # Bytes come in and go out: read and written here they are counted once, and refused in our words.
        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            return self._answer(CallExchange(route, context, data), kind.FromString)

        return answer

    def _answer(self, call: CallExchange, read: Callable[[bytes], Any]) -> bytes:
        """Return the response, or end the call with the status of what went wrong."""
        pipeline = self._pipeline
        pipeline.identify(call, call.headers.get(b"x-request-id"))
        try:
            call.message = _message(read, call.data)
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
        call.context.abort(status, _short(call.route.details(error)))

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


class CallRoute(NamedTuple):
    """A method of a service, as the pipeline calls it, and how its refusals read."""

    protocol: str
    handler: Callable[[CallExchange, DataPlane], Any]
    details: Callable[[LadingError], str]


class CallExchange(Exchange):
    """One call on its way."""

    def __init__(self, route: CallRoute, context: grpc.ServicerContext, data: bytes) -> None:
        self.route = route
        self.context = context
        self.data = data
        self.message: Any = None
        # Made at once: `cached_property` would hold a lock that all threads share until Python 3.12.
        self.headers = {
            key.encode(): value.encode("latin-1", "replace") if type(value) is str else value
            for key, value in context.invocation_metadata()
        }

    def target(self) -> tuple[str | None, int | None, str | None] | None:
        """Return the model and version that the message names; it may name none, or be unreadable."""
        message = self.message
        spec = getattr(message, "model_spec", None)
        name = spec.name if spec is not None else getattr(message, "model_name", "")
        version = str(spec.version.value or "") if spec is not None else getattr(message, "model_version", "")
        return name, version_number(version), None

    def patience(self) -> float | None:
        """Return how many seconds the client waits; if it gives up sooner, its job leaves the queue."""
        if not self.context.add_callback(self._client_gone):
            self._client_gone()
        remaining: float | None = self.context.time_remaining()
        return remaining

    def is_cancelled(self) -> bool:
        """Return whether the client cancelled its call, and not because its own deadline had passed."""
        if self.job is None or not self.job.cancelled or self.context.is_active():
            return False
        remaining = self.context.time_remaining()
        return remaining is None or remaining > 0

    def _client_gone(self) -> None:
        job = self.job  # Read once: the call may end at this moment in its own thread.
        if job is not None:
            job.cancel()


def _message(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except DecodeError as error:
        raise BodyInvalid("message", expected="this method's protobuf message", found=str(error)) from None


def _short(details: str) -> str:
    """Cut a text that names at length what the client sent: past 8 KiB of headers it gets another error."""
    cut = details.encode()[:_LONGEST_DETAILS].decode(errors="ignore")
    return cut if len(cut) == len(details) else f"{cut}…"


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
        # Clients behind load balancers ping often; grpcio's own limits would cut them off.
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
