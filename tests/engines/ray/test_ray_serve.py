"""lading's server as a Ray Serve application on a real cluster: asked, released, scaled, killed in parts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lading.deploy.ray_config import NODE_ENVIRONMENT
from lading.registry import Registry
from lading.release import Plan
from support.bundles import linear_bundle
from support.forged_bundles import forge_golden_output
from support.ray_clusters import RayCluster
from support.ray_serving import (
    URL,
    Callers,
    comes_to,
    curl,
    deploy,
    end_machine,
    predict,
    replicas,
    servers,
)
from support.recorded_evidence import push_proved
from support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("ray-serve")

TRITON = Path(__file__).parents[3] / ".venv-clients" / "triton" / "bin" / "python"
ASK_TRITON = """
import sys
import numpy as np
import tritonclient.http as triton
client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_ready() and client.is_model_ready("iris")
rows = triton.InferInput("X", [2, 4], "FP32")
rows.set_data_from_numpy(np.zeros((2, 4), np.float32))  # Binary tensors, which are triton's default.
print(client.infer("iris", [rows]).as_numpy("probabilities").shape)
"""

# How long a replica that is removed stays reachable, for a front that does not know it yet: 30 s otherwise.
QUICK = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("released")


@pytest.fixture(scope="module")
def registry(place: Path) -> Iterator[Registry]:
    """Return a registry with two versions of iris, the first of them live."""
    with Registry.open(str(place / "registry")) as opened:
        for seed in (0, 1):
            push_proved(opened, linear_bundle(place / f"{seed}.bundle", seed=seed))
        opened.releases.begin("iris", 1, Plan(mode="live"), actor="me")
        yield opened


@pytest.fixture(scope="module")
def serving(place: Path, registry: Registry) -> Iterator[RayCluster]:
    """Return a cluster of two machines on which the releases of the registry are served."""
    with RayCluster(LADING_REGISTRY=str(place / "registry"), **NODE_ENVIRONMENT, **QUICK) as cluster:
        cluster.add_machine(cpus=2)
        cluster.add_machine(cpus=3)
        done = deploy(cluster, "--max-replicas", "4", "--in-flight", "2", "--remove-after", "5s")
        assert done.returncode == 0, done.stderr
        yield cluster


def digest(registry: Registry, number: int) -> str:
    return {version.version: version.digest for version in registry.versions("iris")}[number]


def test_curl_and_tritonclient_are_answered_as_by_a_server_alone(serving, registry):
    status, headers, body = predict(serving)
    assert (status, len(body["prediction"])) == (200, 3)
    assert headers["x-lading-digest"] == digest(registry, 1)
    assert curl(serving, "/v2/models/iris")[2]["platform"]
    refused = curl(serving, "/predict", "-d", '{"data": [[1]]}', "-H", "content-type: application/json")
    assert (refused[0], "expected" in refused[2]["error"]) == (400, True)
    if TRITON.exists():
        asked = serving.run(str(TRITON), "-c", ASK_TRITON, URL.removeprefix("http://"))
        assert asked.stdout == "(2, 3)\n", asked.stderr


@pytest.mark.slow
@pytest.mark.wide  # Serve tries three times before it gives up.
def test_a_replica_whose_golden_samples_disagree_is_never_asked(serving, tmp_path):
    linear_bundle(tmp_path / "iris")
    forge_golden_output(tmp_path / "iris")
    done = deploy(serving, str(tmp_path / "iris"), "--name", "forged", "--route", "/forged")
    assert done.returncode == 1
    assert "`probabilities`, row 3" in done.stderr, done.stderr
    assert predict(serving)[0] == 200


def callers(cluster: RayCluster, **kinds: int) -> list[Callers]:
    """Start callers with connections of each kind, and tritonclient if it is installed."""
    of_triton = [Callers(cluster, TRITON, triton=1)] if TRITON.exists() else []
    return [Callers(cluster, **kinds), *of_triton]


def none_failed(started: list[Callers]) -> dict[str, int]:
    """End callers, of whose requests none may have failed; return how many were answered."""
    answered: dict[str, int] = {}
    for each in started:
        seen, failed = each.end()
        assert not failed, "\n".join(map(str, failed))
        answered |= seen
    assert all(answered.values())
    print(answered)
    return answered


def test_a_release_changes_what_is_served_and_no_request_is_lost(serving, registry):
    started = callers(serving, kept=1, new=1)
    second = digest(registry, 2)
    registry.releases.begin("iris", 2, Plan(mode="live"), actor="me")
    wait_until(lambda: predict(serving)[1].get("x-lading-digest") == second, 60)
    none_failed(started)


@pytest.mark.slow
@pytest.mark.wide
def test_no_request_is_lost_while_replicas_are_added_and_killed_and_removed(serving):
    comes_to(serving, 1)
    started = callers(serving, kept=7, new=4)
    comes_to(serving, 4)
    # The server of a replica, as by the kernel when memory runs out: its replica starts another one.
    killed = servers(serving)[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in servers(serving), 60)
    comes_to(serving, 4)
    # A replica with its server.
    killed = replicas(serving)[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in replicas(serving), 60)
    comes_to(serving, 4)
    # The machine that is not the head, with all replicas on it.
    lost = serving.raylets()[-1]
    assert replicas(serving, lost)
    end_machine(lost)
    serving.add_machine(cpus=3)
    comes_to(serving, 4)
    none_failed(started)
    # With little to do, all but one are removed, which may be the one that a caller's connection leads to.
    started = [Callers(serving, light=2)]
    comes_to(serving, 1)
    none_failed(started)
