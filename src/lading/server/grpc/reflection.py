"""Server reflection over two descriptor pools: lading's own, and the default one of grpcio's services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from lading.server.grpc import messages

_V1 = "grpc.reflection.v1.ServerReflection"


class _Pools:
    """Looks a name up in one pool and then in the next; raises `KeyError` as a pool does."""

    def __init__(self, *pools: Any) -> None:
        self._pools = pools

    def __getattr__(self, method: str) -> Any:
        def find(*given: Any) -> Any:
            for pool in self._pools[:-1]:
                try:
                    return getattr(pool, method)(*given)
                except (KeyError, TypeError):  # A descriptor of the other pool is a TypeError.
                    continue
            return getattr(self._pools[-1], method)(*given)

        return find


def add_reflection(server: grpc.Server, services: Sequence[str]) -> None:
    """Let clients ask which services there are and how their messages look."""
    pools = _Pools(messages.pool(), descriptor_pool.Default())
    names = [*services, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool=pools)
    # The newer name has the same messages; grpcio-reflection knows only the older one.
    servicer = reflection.ReflectionServicer(names, pools)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_V1, methods),))
