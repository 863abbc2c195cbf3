"""Server reflection over two descriptor pools: lading's own, and the default one of grpcio's services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from lading.server.grpc import descriptors
from lading.server.grpc.calls import read_message

# The newer name has the same messages; grpcio-reflection knows only the older one.
NAMES = (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection")


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


class Reflection:
    """Lets clients list the services and the types of their messages."""

    def __init__(self, services: Sequence[str]) -> None:
        pools = _Pools(descriptors.pool(), descriptor_pool.Default())
        self._servicer = reflection.ReflectionServicer([*services, reflection.SERVICE_NAME], pools)

    def answer(self, data: bytes) -> bytes:
        """Answer one question of a stream. Raises `BodyInvalid` if it is no message."""
        request = read_message(reflection_pb2.ServerReflectionRequest.FromString, data)
        # grpcio's servicer answers a stream of questions; this is a stream of one.
        response = next(iter(self._servicer.ServerReflectionInfo(iter([request]), None)))
        answer: bytes = response.SerializeToString()
        return answer
