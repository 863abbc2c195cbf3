from __future__ import annotations

from collections.abc import Iterator

import pytest

from lading.server.grpc.server import GrpcServer
from lading.server.inference.version import ServedVersion, State
from lading.server.protocols.tfs import grpc as tfs_grpc
from lading.settings import ServeSettings
from lading.signature import DTYPES
from support.bundles import linear_bundle
from support.hosted_app import AppClient, hosted, served_from
from support.small_models import echo, echo_with_nan, half_plus_two, people
from support.tensorflow_serving import Client


@pytest.fixture(scope="package")
def models(tmp_path_factory) -> AppClient:
    """Return the application with two versions of iris, TensorFlow Serving's own example, and echoes."""
    folder = tmp_path_factory.mktemp("tfs")
    return hosted(
        served_from(linear_bundle(folder / "1", seed=1), 1),
        served_from(linear_bundle(folder / "2", seed=2), 2, ("live", "best")),
        served_from(half_plus_two(folder / "half"), 123, ("Version_Label",)),
        served_from(echo_with_nan(folder / "echo", "echo"), 7),
        served_from(echo(folder / "text", "text", "string", output="echo_bytes"), 1),
        served_from(people(folder / "people"), 1),
        *(served_from(echo(folder / dtype, f"echo-{dtype}", dtype), 1) for dtype in DTYPES),
    )


@pytest.fixture(scope="package")
def client(models) -> Iterator[Client]:
    """Return a gRPC client of the same models, and of `wine`, which has failed."""
    failed = ServedVersion("wine", 4, "sha256:0", State.FAILED, "because")
    versions = [served for group in models.app.plane.models.values() for served in group]
    pipeline = hosted(*versions, failed).app.pipeline
    server = GrpcServer(pipeline, ServeSettings(grpc_threads=4), tfs_grpc.services())
    client = Client(server.start("127.0.0.1", 0))
    yield client
    client.channel.close()
    server.stop(1)
