"""Serves gRPC in threads: start-up, one call, counts, drain. Knows no protocol and no model.

Threads rather than asyncio, because grpcio answers twice as many calls that way, and because a call that
waits for a batch then costs nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from lading.errors import BodyInvalid, LadingError, ModelNotReady, NotFound, RunFailed
from lading.ref import version_number
from lading.server.grpc import Call, Method, Service, messages, status_of
from lading.server.grpc.executor import CallThreads
from lading.server.grpc.health import Health
from lading.server.grpc.reflection import add_reflection
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.job import Job, request_ids
from lading.server.metrics import Metrics
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")

_LONGEST_ID = 128
_LONGEST_DETAILS = 2000  # Bytes, of which each may take three on the wire.

Run = Callable[[bytes, grpc.ServicerContext], bytes]
Metadata = Mapping[str, "str | bytes"]


class GrpcServer:
    """The services on one port; health checking and reflection come with them."""

    def __init__(
        self, plane: DataPlane, metrics: Metrics, settings: ServeSettings, services: Iterable[Service]
    ) -> None:
        self._plane = plane
        self._metrics = metrics
        self._counting = threading.Lock()
        self._ids = request_ids()
        self._threads = CallThreads(settings.grpc_threads)
        # What waits for a thread waits in no queue of a model, and must not grow without end either.
        most = settings.grpc_threads + settings.max_queue
        self._server = grpc.server(self._threads, options=_options(settings), maximum_concurrent_rpcs=most)
        services = tuple(services)
        for service in services:
            self._server.add_generic_rpc_handlers((self._handler(service),))
        names = [service.name for service in services]
        self._health = Health(plane, names)
        self._health.add_to(self._server)
        add_reflection(self._server, [*names, self._health.name])

    def start(self, host: str, port: int) -> int:
        """Listen and answer; return the port. Raises `OSError` where the address is taken."""
        try:
            bound = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(str(error)) from None
        self._server.start()
        self._health.start()
        return int(bound)

    def stop(self, grace_s: float) -> None:
        """Take no more calls, and finish those in hand within `grace_s`."""
        self._health.stop()
        self._server.stop(grace_s).wait()
        self._threads.stop()

    def _handler(self, service: Service) -> grpc.GenericRpcHandler:
        methods = {}
        described = messages.service(service.protos, service.name).methods_by_name
        for method in service.methods:
            request = messages.message(service.protos, described[method.name].input_type.full_name)
            methods[method.name] = grpc.unary_unary_rpc_method_handler(self._method(service, method, request))
        return grpc.method_handlers_generic_handler(service.name, methods)

    def _method(self, service: Service, method: Method, request: Any) -> Run:
        # Bytes come in and go out: read and written here they are counted once, and refused in our words.
        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            return _Exchange(self, service, method, context, len(data)).answer(request.FromString, data)

        return answer

    def call(self, metadata: Metadata) -> Call:
        """Return what a method may look at: releases that split see the caller's metadata."""
        plane = self._plane
        if plane.splits:
            plane = plane.seen_by({key.encode(): _bytes(value) for key, value in metadata.items()})
        return Call(plane, self._metrics)

    def request_id(self, metadata: Metadata) -> str:
        """Return the caller's own id of this call, or a new one."""
        given = metadata.get("x-request-id")
        if isinstance(given, str) and 0 < len(given) <= _LONGEST_ID:
            return given
        return next(self._ids).decode("ascii")

    def count(
        self, call: _Exchange, service: Service, status: str, sent_bytes: int, error: LadingError | None
    ) -> None:
        """Count one call: its status, and the error where there is one."""
        job, took_s = call.job, time.perf_counter() - call.began
        with self._counting:  # Many threads count into one place; adding is not atomic in Python.
            if job is not None:
                stats = self._metrics.of(job.served, service.protocol)
            else:
                stats = self._metrics.stats(*call.about, service.protocol)
            stats.answered(status, took_s, job, call.size, sent_bytes)
            if error is not None:
                stats.failed(error)
            reason = type(error).__name__ if error is not None else ""
            if job is not None and status != "CANCELLED":
                self._plane.saw(job, call.request_id.encode(), took_s, reason)
            elif error is not None and call.plane is not self._plane:
                call.plane.saw_refusal(took_s, reason)


class _Exchange:
    """One call on its way."""

    __slots__ = (
        "_call",
        "_context",
        "_method",
        "_server",
        "_service",
        "about",
        "began",
        "job",
        "request_id",
        "size",
    )

    def __init__(
        self, server: GrpcServer, service: Service, method: Method, context: grpc.ServicerContext, size: int
    ) -> None:
        self.began = time.perf_counter()
        self.size = size
        self.job: Job | None = None
        self.about = ("", 0)
        self._server = server
        self._service = service
        self._method = method
        self._context = context
        metadata: Metadata = dict(context.invocation_metadata())
        self._call = server.call(metadata)
        self.request_id = server.request_id(metadata)

    @property
    def plane(self) -> DataPlane:
        """The data plane as this caller sees it."""
        return self._call.plane

    def answer(self, read: Callable[[bytes], Any], data: bytes) -> bytes:
        """Return the response, or end the call with the status of what went wrong."""
        message: Any = None
        try:
            message = _message(read, data)
            answer: bytes = self._respond(message).SerializeToString()
        except LadingError as error:
            self.about = self._about(message)
            self._refuse(error)
        except Exception:  # logged with its traceback, answered with a sentence
            log.exception("gRPC call %s of %s failed", self.request_id, self._method.name)
            hint = f"the server's log has it under x-request-id {self.request_id}"
            self._refuse(RunFailed("internal error", hint=hint))
        self._finish("OK", len(answer))
        return answer

    def _respond(self, message: Any) -> Any:
        outcome = self._method.answer(message, self._call)
        if not isinstance(outcome, Job):
            return outcome
        try:
            return self._run(outcome)
        except ModelNotReady:
            # The version was unloaded after it had been found: what replaced it is found now.
            self._call = self._server.call(dict(self._context.invocation_metadata()))
            return self._run(self._method.answer(message, self._call))

    def _run(self, job: Job) -> Any:
        self.job = job
        return job.encode(self.plane.run(job, self._patience))

    def _patience(self) -> float | None:
        """Return how many seconds the client waits; should it give up before, its job leaves the queue."""
        if not self._context.add_callback(self._client_gone):
            self._client_gone()
        remaining: float | None = self._context.time_remaining()
        return remaining

    def _client_gone(self) -> None:
        assert self.job is not None
        self.job.cancel()

    def _cancelled(self) -> bool:
        """Return whether the client took its call back, and not because its own deadline had passed."""
        if self.job is None or not self.job.cancelled or self._context.is_active():
            return False
        remaining = self._context.time_remaining()
        return remaining is None or remaining > 0

    def _about(self, message: Any) -> tuple[str, int]:
        """Return the model and version that a refused call was about; nothing where there is none."""
        spec = getattr(message, "model_spec", None)
        name = spec.name if spec is not None else getattr(message, "model_name", "")
        version = str(spec.version.value or "") if spec is not None else getattr(message, "model_version", "")
        try:
            served = self.plane.find(name, version_number(version))
        except (NotFound, ModelNotReady):
            return "", 0
        return served.name, served.version

    def _refuse(self, error: LadingError) -> None:
        status = status_of(error)
        if self._cancelled():  # Nobody reads this, but it is counted, and not as an error of ours.
            self._finish("CANCELLED", 0)
        else:
            self._finish(status.name, 0, error)
        self._context.abort(status, _short(self._service.details(error)))

    def _finish(self, status: str, sent_bytes: int, error: LadingError | None = None) -> None:
        served = self.job.served.metadata if self.job is not None else ()
        self._context.set_trailing_metadata((*served, ("x-request-id", self.request_id)))
        self._server.count(self, self._service, status, sent_bytes, error)


def _message(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except DecodeError as error:
        raise BodyInvalid("message", expected="this method's protobuf message", found=str(error)) from None


def _short(details: str) -> str:
    """Cut a text that names at length what the client sent: past 8 KiB of headers it gets another error."""
    cut = details.encode()[:_LONGEST_DETAILS].decode(errors="ignore")
    return cut if len(cut) == len(details) else f"{cut}…"


def _bytes(value: str | bytes) -> bytes:
    return value.encode("latin-1", "replace") if isinstance(value, str) else value


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
        # Clients behind load balancers ping often; grpcio's own limits would cut them off.
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
