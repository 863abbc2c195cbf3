"""NVIDIA's `tritonclient` against a real server: HTTP and gRPC, sync and asyncio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.bundles import linear_bundle
from support.echo_models import echo_bundles, sum_bundle
from support.server_process import ServerProcess, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("triton")
    linear_bundle(folder / "iris")
    sum_bundle(folder / "sum")
    paths = [folder / "iris", folder / "sum", *(bundle.path for bundle in echo_bundles(folder))]
    with serving(*paths) as started:
        yield started


@pytest.mark.parametrize("part", ["http", "http_aio", "grpc", "grpc_aio"])
def test_tritonclient_works_unchanged(server, in_environment, part):
    http, grpc = server.url.removeprefix("http://"), server.grpc_target()
    stdout = in_environment("triton", "triton_client.py", part, http, grpc)
    assert "all of it works" in stdout
