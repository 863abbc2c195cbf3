"""The gRPC server of this process over a real socket, and calls of its services."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np

from lading.server.exchange import Pipeline, Steps
from lading.server.grpc import Service, descriptors
from lading.server.grpc.server import GrpcServer
from lading.server.inference.dataplane import DataPlane
from lading.server.inference.version import ServedVersion
from lading.server.metrics import Metrics
from lading.server.process.compose import make_plane
from lading.server.process.grpc_listener import services
from lading.settings import ServeSettings

OIP = "inference.GRPCInferenceService"
INFER = f"/{OIP}/ModelInfer"
STREAM_INFER = f"/{OIP}/ModelStreamInfer"


@contextlib.contextmanager
def grpc_address(
    plane: DataPlane, *own: Service, steps: Steps | None = None, settings: ServeSettings | None = None
) -> Iterator[tuple[str, Metrics]]:
    """Serve `plane` on a free port of this process; yield its address and what it counts."""
    metrics = Metrics(plane)
    pipeline = Pipeline(plane, metrics, steps)
    server = GrpcServer(pipeline, settings or ServeSettings(), own or tuple(services()))
    port = server.start("127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{port}", metrics
    finally:
        server.stop(1)


@contextlib.contextmanager
def grpc_serving(
    plane: DataPlane,
    *own: Service,
    steps: Steps | None = None,
    settings: ServeSettings | None = None,
    options: Sequence[tuple[str, int]] = (),
) -> Iterator[tuple[grpc.Channel, Metrics]]:
    """Serve `plane` on a free port of this process: with services of the test's `own`, or else with all."""
    with (
        grpc_address(plane, *own, steps=steps, settings=settings) as (address, metrics),
        grpc.insecure_channel(address, options) as channel,
    ):
        yield channel, metrics


def ask(channel: grpc.Channel, method: str, timeout: float = 10, **fields: Any) -> Any:
    """Call a method of the Open Inference Protocol; return its answer and the call."""
    description = descriptors.service("oip", OIP).methods_by_name[method]
    request = descriptors.message("oip", description.input_type.full_name)
    response = descriptors.message("oip", description.output_type.full_name)
    call = channel.unary_unary(
        f"/{OIP}/{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    return call.with_call(request(**fields), timeout=timeout)


def infer_bytes(**fields: Any) -> bytes:
    """Return the message of a ModelInfer call as bytes on the wire."""
    message = descriptors.message("oip", "inference.ModelInferRequest")(**fields)
    return bytes(message.SerializeToString())


def one_row(model: str = "iris", rows: int = 1) -> dict[str, Any]:
    data = np.ones((rows, 4), np.float32)
    tensor = {"name": "X", "datatype": "FP32", "shape": data.shape}
    return {"model_name": model, "inputs": [tensor], "raw_input_contents": [data.tobytes()]}


def plane_of(*versions: ServedVersion, **settings: Any) -> DataPlane:
    plane = make_plane(ServeSettings(**settings))
    plane.publish(versions)
    return plane
