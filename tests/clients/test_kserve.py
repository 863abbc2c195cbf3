"""KServe's own Python client against a real server that writes what is not a number as `null`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lading.signature import Signature
from support.echo_models import echo_bundles
from support.onnx_graphs import bundle_of, graph, node, tensor
from support.server_process import ServerProcess, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("kserve")
    shape = (tensor("x", "float32", "batch", 3),), (tensor("y", "float32", "batch", 3),)
    model = graph([node("Log", "x", "y")], *shape)
    rows = {"x": np.array([[1, 2, 3], [4, 5, 6]], "float32")}
    log = bundle_of(folder / "log", model, Signature(*shape), rows, name="log")
    paths = [log.path, *(bundle.path for bundle in echo_bundles(folder))]
    with serving(*paths, flags=("--oip-nan", "null")) as started:
        yield started


@pytest.mark.parametrize("part", ["rest", "grpc"])
def test_the_client_of_kserve_works_unchanged(server, in_environment, part):
    address = server.url if part == "rest" else server.grpc_target()
    assert "all of it works" in in_environment("kserve", "kserve_client.py", part, address)
