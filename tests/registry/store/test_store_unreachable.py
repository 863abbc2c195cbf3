"""Servers that start while the store is away: from the cache, or not ready until the store is back."""

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
def away(tmp_path):
    """Push iris to a registry and stop it; give its address and the variables that lead there."""
    address = f"127.0.0.1:{free_port()}"  # Its own, also while nobody listens there.
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


def test_a_server_says_what_is_missing_is_not_ready_and_has_it_once_the_store_is_back(away, tmp_path):
    address, environ = away
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


def test_a_server_that_has_it_in_its_cache_needs_no_store(away, tmp_path):
    address, environ = away
    with registry_of_its_own(tmp_path / "server", address=address), serving("iris:1", environ=environ):
        pass
    with serving("iris:1", environ=environ) as server:
        assert httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]}).status_code == 200
        assert "cannot be loaded" not in server.log
