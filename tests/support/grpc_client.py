"""The gRPC server of this process over a real socket, and calls of its services."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np

from lading.server.exchange import Pipeline
from lading.server.grpc import Service, descriptors
from lading.server.grpc.server import GrpcServer
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion
from lading.server.metrics import Metrics
from lading.server.process.compose import make_plane
from lading.server.process.grpc_listener import services
from lading.settings import ServeSettings

OIP = "inference.GRPCInferenceService"


@contextlib.contextmanager
def grpc_serving(
    plane: DataPlane, *more: Service, settings: ServeSettings | None = None
) -> Iterator[tuple[grpc.Channel, Metrics]]:
    """Serve `plane` on a free port of this process."""
    metrics = Metrics(plane)
    server = GrpcServer(Pipeline(plane, metrics), settings or ServeSettings(), more or tuple(services()))
    port = server.start("127.0.0.1", 0)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel, metrics
    finally:
        server.stop(1)


def ask(channel: grpc.Channel, method: str, timeout: float = 10, **fields: Any) -> Any:
    wire = descriptors.service("oip", OIP).methods_by_name[method]
    kinds = [descriptors.message("oip", kind.full_name) for kind in (wire.input_type, wire.output_type)]
    call = channel.unary_unary(
        f"/{OIP}/{method}",
        request_serializer=kinds[0].SerializeToString,
        response_deserializer=kinds[1].FromString,
    )
    return call.with_call(kinds[0](**fields), timeout=timeout)


def one_row(model: str = "iris", rows: int = 1) -> dict[str, Any]:
    data = np.ones((rows, 4), np.float32)
    tensor = {"name": "X", "datatype": "FP32", "shape": data.shape}
    return {"model_name": model, "inputs": [tensor], "raw_input_contents": [data.tobytes()]}


def plane_of(*versions: ServedVersion, **settings: Any) -> DataPlane:
    plane = make_plane(ServeSettings(**settings))
    plane.publish(versions)
    return plane
