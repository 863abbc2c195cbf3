"""Servers that start while the store is unreachable: from the cache, or not ready until it is back."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from support.bundles import linear_bundle
from support.images import lading
from support.oci_stores import registry_of_its_own
from support.ports import free_port
from support.server_process import serving

pytestmark = pytest.mark.slow


@pytest.fixture
def unreachable(tmp_path):
    """The address of a stopped registry that holds `iris`, and the variables that name it."""
    address = f"127.0.0.1:{free_port()}"  # Reserved, so that nothing else listens there meanwhile.
    with registry_of_its_own(tmp_path / "server", address=address):
        environ = {
            "LADING_REGISTRY": str(tmp_path / "registry"),
            "LADING_STORE": f"oci://{address}/models",
        }
        lading("push", linear_bundle(tmp_path / "iris").path, environ=environ)
    return address, environ


def blob_of(environ: dict[str, str]) -> str:
    from lading.registry import Registry

    with Registry.open(environ["LADING_REGISTRY"], store=environ["LADING_STORE"]) as registry:
        return registry.resolve("iris:1").blob


def test_a_server_names_the_missing_blob_and_gets_ready_once_the_store_is_back(unreachable, tmp_path):
    address, environ = unreachable
    with serving("iris:1", environ=environ, ready=False) as server:
        server.wait_until(lambda: "retrying in 1 s" in server.log)  # after 0.5 s the second time
        health = httpx.get(f"{server.url}/health")
        assert health.status_code == 503
        assert blob_of(environ) in server.log
        assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
        assert not list((Path(environ["LADING_REGISTRY"]) / "cache").glob("*/bundle.json"))
        with registry_of_its_own(tmp_path / "server", address=address):
            server.wait_ready()
        assert server.stop() == 0


def test_a_server_with_the_bundle_in_its_cache_needs_no_store(unreachable, tmp_path):
    address, environ = unreachable
    with registry_of_its_own(tmp_path / "server", address=address), serving("iris:1", environ=environ):
        pass
    with serving("iris:1", environ=environ) as server:
        assert httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]}).status_code == 200
        assert "cannot be loaded" not in server.log
