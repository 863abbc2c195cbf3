from __future__ import annotations

import pytest

from lading.registry import Registry
from lading.replica import Replica, ReplicaModel

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def running(registry):
    """List a running server, a stopped one, and one without models; return the digest of their model."""
    model = ReplicaModel(
        name="iris", version=3, digest=DIGEST, state="ready", owner="ml@example.com", requests=7
    )
    with Registry.open(str(registry)) as opened:
        opened.fleet.beat(
            Replica(
                id="web-1",
                os="debian 12",
                python="3.11.2",
                onnxruntime="1.26.0",
                software="lading 0.1.0",
                packages={"numpy": "2.3.0", "scikit-learn": "1.7.0"},
                models=(model,),
            )
        )
        opened.fleet.beat(
            Replica(id="web-2", packages={"numpy": "2.4.0"}, models=(model,), stopped_at="2026-11-20")
        )
        opened.fleet.beat(Replica(id="other"))
    return DIGEST


@pytest.fixture
def triton():
    """Return what a Triton server answers, to be changed by the test."""
    return {
        "GET /v2": {"name": "triton", "version": "2.60.0"},
        "POST /v2/repository/index": [{"name": "net", "version": "3", "state": "READY"}],
    }
