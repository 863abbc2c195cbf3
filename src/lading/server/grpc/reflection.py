"""Server reflection over two descriptor pools: lading's own, and the default one of grpcio's services."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from lading.server.grpc import descriptors

_V1 = "grpc.reflection.v1.ServerReflection"
_MAX_STREAMS = 4
"""How many streams are answered at the same time: each occupies one of the threads that predictions need."""


class _Pools:
    """Looks a name up in one pool and then in the next; raises `KeyError` as a single pool does."""

    def __init__(self, *pools: Any) -> None:
        self._pools = pools

    def __getattr__(self, method: str) -> Any:
        def find(*arguments: Any) -> Any:
            for pool in self._pools[:-1]:
                try:
                    return getattr(pool, method)(*arguments)
                except (KeyError, TypeError):  # A descriptor of the other pool is a TypeError.
                    continue
            return getattr(self._pools[-1], method)(*arguments)

        return find


class _Reflection(reflection.ReflectionServicer):  # type: ignore[misc]  # grpcio-reflection has no types
    """Answers a few streams at the same time, and refuses more with RESOURCE_EXHAUSTED."""

    def __init__(self, names: Sequence[str], pools: _Pools) -> None:
        super().__init__(names, pools)
        self._slots = threading.BoundedSemaphore(_MAX_STREAMS)

    def ServerReflectionInfo(  # noqa: N802 - its name on the wire
        self, request_iterator: Iterator[Any], context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Answer the questions of one stream."""
        if not self._slots.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{_MAX_STREAMS} reflection streams are open")
        try:
            yield from super().ServerReflectionInfo(request_iterator, context)
        finally:
            self._slots.release()


def add_reflection(server: grpc.Server, services: Sequence[str]) -> None:
    """Let clients list the services and the types of their messages."""
    pools = _Pools(descriptors.pool(), descriptor_pool.Default())
    names = [*services, reflection.SERVICE_NAME]
    servicer = _Reflection(names, pools)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    # The newer name has the same messages; grpcio-reflection knows only the older one.
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_V1, methods),))
