"""Two servers on one PostgreSQL: they converge, share a rollout exactly, outlive a restart of the catalog."""

from __future__ import annotations

import math
import re
import socket

import httpx
import pytest

from lading.errors import RegistryUnavailable
from lading.registry import Registry
from lading.release import EventDraft, Plan
from support.bundles import linear_bundle
from support.load_clients import ROW, Clients, read_answer, rest
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

pytestmark = pytest.mark.slow

REQUESTS = 20_000


@pytest.fixture
def replicas(postgres, tmp_path):
    """Two following servers on one PostgreSQL, with the blobs in a folder, and their registry."""
    url = postgres.database()
    environ = {"LADING_REGISTRY": url, "LADING_STORE": str(tmp_path / "store")}
    with Registry.open(url, store=str(tmp_path / "store")) as registry:
        for seed in (1, 2):
            push_proved(registry, linear_bundle(tmp_path / str(seed), seed=seed))
        registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
        caches = [{**environ, "LADING_CACHE": str(tmp_path / f"cache-{at}")} for at in (1, 2)]
        with (
            serving(flags=("--grpc-port", "-1"), environ=caches[0]) as first,
            serving(flags=("--grpc-port", "-1"), environ=caches[1]) as second,
        ):
            yield registry, (first, second)
            assert first.stop() == 0
            assert second.stop() == 0


def states(server: ServerProcess) -> dict[int, str]:
    listed = httpx.get(f"{server.url}/models").json()["models"]
    return {version["version"]: version["state"] for version in listed}


def port_of(server: ServerProcess) -> int:
    return int(server.url.rpartition(":")[2])


def sides(server: ServerProcess, count: int, keys: list[str] | None = None) -> list[str]:
    """Ask `count` times on one connection; return the version that answered each time."""
    models = []
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=30) as wire:
        for at in range(count):
            key = f"x-lading-key: {keys[at]}\r\n" if keys else ""
            head = f"POST /models/iris/predict HTTP/1.1\r\nhost: t\r\n{key}content-length: {len(ROW)}\r\n\r\n"
            wire.sendall(head.encode() + ROW)
            model = re.search(rb"x-lading-model: (\S+)", read_answer(wire))
            assert model is not None
            models.append(model.group(1).decode())
    return models


def candidates(server: ServerProcess, keys: list[str]) -> set[str]:
    """Return those of `keys` that the candidate answers."""
    return {key for key, side in zip(keys, sides(server, len(keys), keys), strict=True) if side == "iris:2"}


def is_share(servers: tuple[ServerProcess, ServerProcess], weight: int) -> bool:
    """Return whether the candidate's share of `REQUESTS` is within the binomial 99 % interval."""
    candidate = sum(side == "iris:2" for server in servers for side in sides(server, REQUESTS // 2))
    sigma = math.sqrt(REQUESTS * weight / 100 * (1 - weight / 100))
    print(f"{weight} % asked, {candidate / REQUESTS:.2%} of {REQUESTS:,} found")
    return abs(candidate - REQUESTS * weight / 100) < 2.58 * sigma


def test_the_share_over_two_replicas_is_the_one_that_was_asked_for(replicas):
    registry, servers = replicas
    keys = [f"user-{at}" for at in range(500)]
    plan = Plan(mode="canary", steps=(5, 25, 50), hold_s=3600)
    release = registry.releases.begin("iris", 2, plan, actor="t")
    for server in servers:
        server.wait_until(lambda server=server: states(server) == {1: "ready", 2: "ready"})
    before: set[str] = set()
    for step, weight in enumerate(plan.steps):
        if step:
            release = registry.releases.change(release, step=step, event=EventDraft(kind="step", actor="t"))
        were = len(before)
        for server in servers:
            server.wait_until(lambda server=server, were=were: len(candidates(server, keys)) > were, 2)
        # At random one share in a hundred is outside its 99 % interval, and one in ten thousand twice.
        assert is_share(servers, weight) or is_share(servers, weight), weight
        now, there = (candidates(server, keys) for server in servers)
        assert now == there, "a key lands on the same side on every replica"
        assert before <= now, "a key never changes side while the weight grows"
        before = now
    assert 0.4 < len(before) / len(keys) < 0.6


def test_a_restart_of_the_catalog_stops_no_answer_and_is_caught_up_with(replicas, postgres):
    registry, servers = replicas
    clients = Clients()
    for server in servers:
        clients.start(rest(port_of(server)))
    wait_until(lambda: all(len(seen.answers) > 100 for seen in clients.seen))
    postgres.stop()
    for server in servers:
        server.wait_until(lambda server=server: "catalog" in httpx.get(f"{server.url}/health").json())
        assert httpx.get(f"{server.url}/health").status_code == 200, "it serves on with what it has"
    postgres.start()

    def can_release() -> bool:
        try:
            return bool(registry.releases.begin("iris", 2, Plan(mode="live"), actor="t"))
        except RegistryUnavailable:
            return False

    wait_until(can_release, 30, "a release in the catalog that is back")
    for server in servers:
        server.wait_until(lambda server=server: states(server) == {2: "ready"})
    clients.stop()
    assert all(len(seen.answers) > 100 for seen in clients.seen)
    assert {answer.status for answer in clients.answers} == {200}
    assert clients.broken == []
