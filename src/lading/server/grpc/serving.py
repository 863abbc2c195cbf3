"""Serves gRPC in threads: start-up, one call, counts, drain. Knows no protocol and no model.

Threads rather than asyncio, because grpcio answers twice as many calls that way, and because a call that
waits for a batch then costs nothing else.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from lading.errors import LadingError, ModelNotReady, NotFound, RunFailed
from lading.server.dataplane import DataPlane
from lading.server.grpc import Call, Method, Service, messages, status_of
from lading.server.grpc.health import Health
from lading.server.grpc.reflection import add_reflection
from lading.server.job import Job
from lading.server.metrics import Metrics, Stats
from lading.settings import ServeSettings

log = logging.getLogger("lading.server")

Run = Callable[[Any, grpc.ServicerContext], Any]


class GrpcServer:
    """The services on one port; health checking and reflection come with them."""

    def __init__(
        self, plane: DataPlane, metrics: Metrics, settings: ServeSettings, services: Iterable[Service]
    ) -> None:
        self._plane = plane
        self._metrics = metrics
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.grpc_threads, "grpc")
        self._server = grpc.server(self._pool, options=_options(settings))
        services = tuple(services)
        for service in services:
            self._server.add_generic_rpc_handlers((self._handler(service),))
        names = [service.name for service in services]
        self._health = Health(plane, names)
        self._health.add_to(self._server)
        add_reflection(self._server, [*names, self._health.name])

    def start(self, host: str, port: int) -> int:
        """Listen and answer; give the port. Raises `OSError` where the address is taken."""
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
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _handler(self, service: Service) -> grpc.GenericRpcHandler:
        methods = {}
        described = messages.service(service.protos, service.name).methods_by_name
        for method in service.methods:
            wire = described[method.name]
            request = messages.message(service.protos, wire.input_type.full_name)
            methods[method.name] = grpc.unary_unary_rpc_method_handler(
                self._method(service, method),
                request_deserializer=_reader(request.FromString),
                response_serializer=self._write,
            )
        return grpc.method_handlers_generic_handler(service.name, methods)

    def _method(self, service: Service, method: Method) -> Run:
        def answer(given: tuple[Any, int], context: grpc.ServicerContext) -> tuple[Any, Stats]:
            message, size = given
            return _Exchange(self, service, method, context, size).answer(message)

        return answer

    def _write(self, answer: tuple[Any, Stats]) -> bytes:
        message, stats = answer
        data: bytes = message.SerializeToString()
        with self._counting:
            stats.sent(len(data))
        return data

    def count(self, call: _Exchange, service: Service, status: str, error: LadingError | None) -> Stats:
        """Count one call: its status, and the error where there is one."""
        job = call.job
        name, version = (job.served.name, job.served.version) if job is not None else call.about
        with self._counting:  # Many threads count into one place; adding is not atomic in Python.
            stats = self._metrics.stats(name, version, service.protocol)
            stats.answered(status, time.perf_counter() - call.began, job, call.size, 0)
            if error is not None:
                stats.failed(error)
        return stats


class _Exchange:
    """One call on its way."""

    def __init__(
        self, server: GrpcServer, service: Service, method: Method, context: grpc.ServicerContext, size: int
    ) -> None:
        self.size = size
        self._server = server
        self._service = service
        self._method = method
        self._context = context
        self.began = time.perf_counter()
        self.job: Job | None = None
        self.about = ("", 0)
        metadata = {one.key: one.value for one in context.invocation_metadata()}
        self._call = Call(server._plane, server._metrics, metadata)  # noqa: SLF001 - one file, one thing
        given = metadata.get("x-request-id", "")
        self._request_id = given if isinstance(given, str) and 0 < len(given) <= 128 else os.urandom(8).hex()

    def answer(self, message: Any) -> tuple[Any, Stats]:
        """Give the response, or end the call with the status of what went wrong."""
        try:
            response = self._respond(message)
        except LadingError as error:
            self.about = self._about(message)
            self._refuse(error)
        except Exception:  # logged with its traceback, answered with a sentence
            log.exception("gRPC call %s of %s failed", self._request_id, self._method.name)
            hint = f"the server's log has it under x-request-id {self._request_id}"
            self._refuse(RunFailed("internal error", hint=hint))
        return response, self._finish("OK")

    def _respond(self, message: Any) -> Any:
        outcome = self._method.answer(message, self._call)
        if not isinstance(outcome, Job):
            return outcome
        try:
            return self._run(outcome)
        except ModelNotReady:
            # The version was unloaded after it had been found: what replaced it is found now.
            return self._run(self._method.answer(message, self._call))

    def _run(self, job: Job) -> Any:
        self.job = job
        self._context.add_callback(self._client_gone)  # A client that gives up leaves the queue.
        return job.encode(self._call.plane.run(job, self._context.time_remaining()))

    def _client_gone(self) -> None:
        assert self.job is not None
        self.job.cancelled = True

    def _about(self, message: Any) -> tuple[str, int]:
        """Give the model and version that a refused call was about; nothing where there is none."""
        spec = getattr(message, "model_spec", None)
        name = spec.name if spec is not None else getattr(message, "model_name", "")
        version = str(spec.version.value or "") if spec is not None else getattr(message, "model_version", "")
        try:
            served = self._call.plane.find(name, int(version) if version.isdecimal() else None)
        except NotFound:
            return "", 0
        return served.name, served.version

    def _refuse(self, error: LadingError) -> None:
        status = status_of(error)
        self._finish(status.name, error)
        self._context.abort(status, self._service.details(error))

    def _finish(self, status: str, error: LadingError | None = None) -> Stats:
        served = (
            [(key.decode(), value.decode()) for key, value in self.job.served.headers] if self.job else []
        )
        self._context.set_trailing_metadata((*served, ("x-request-id", self._request_id)))
        return self._server.count(self, self._service, status, error)


def _options(settings: ServeSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
        # Clients behind load balancers ping often; grpcio's own limits would cut them off.
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _reader(parse: Callable[[bytes], Any]) -> Callable[[bytes], tuple[Any, int]]:
    # grpcio reads in a thread of its own and writes in the call's: only what they give can carry a size.
    return lambda data: (parse(data), len(data))
