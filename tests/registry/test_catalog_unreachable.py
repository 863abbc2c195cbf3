"""Servers that start while PostgreSQL is unreachable: with what is known, or not ready until it is back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest

from lading.registry import Registry
from lading.release import Plan
from lading.server.inference import readiness as readiness_module
from lading.server.metrics import Metrics
from lading.server.process.compose import metrics_page
from lading.server.protocols.native.info import health
from support.bundles import linear_bundle
from support.following_server import FollowingServer
from support.metrics_page import samples
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def environ(postgres, tmp_path):
    """The variables of a registry with two versions of `iris`, the first of them live."""
    environ = {
        "LADING_REGISTRY": postgres.database(),
        "LADING_STORE": str(tmp_path / "store"),
        "LADING_CACHE": str(tmp_path / "cache"),
    }
    with Registry.open(environ["LADING_REGISTRY"], store=environ["LADING_STORE"]) as registry:
        for seed in (1, 2):
            push_proved(registry, linear_bundle(tmp_path / str(seed), seed=seed))
        registry.releases.begin("iris", 1, Plan(mode="live"), actor="t")
    return environ


@contextmanager
def stopped(postgres) -> Iterator[Callable[[], None]]:
    """Stop PostgreSQL; yield the function that starts it again, which is called at the end in any case."""
    postgres.stop()
    with ExitStack() as stack:
        stack.callback(postgres.start)
        yield stack.close


def answering(server: ServerProcess) -> str:
    answer = httpx.post(f"{server.url}/models/iris/predict", json={"data": [[1, 2, 3, 4]]})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-lading-model"]


def not_ready(server: ServerProcess) -> str:
    health = httpx.get(f"{server.url}/health")
    assert health.status_code == 503
    assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
    return health.json()["reason"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_follows_releases_starts_with_the_last_known_ones_and_catches_up(
    postgres, environ, tmp_path, workers
):
    flags = ("--workers", workers)
    with serving(environ=environ, flags=flags) as server:
        assert answering(server) == "iris:1"
    with stopped(postgres) as start_again, serving(environ=environ, flags=flags) as server:
        assert answering(server) == "iris:1"
        assert "serving the releases last known until the catalog is reachable: iris:1" in server.log
        assert "unreachable for" in httpx.get(f"{server.url}/health").json()["catalog"]
        start_again()
        with Registry.open(environ["LADING_REGISTRY"], store=environ["LADING_STORE"]) as registry:
            registry.releases.begin("iris", 2, Plan(mode="live"), actor="t")
        server.wait_until(lambda: answering(server) == "iris:2")
        server.wait_until(lambda: "catalog" not in httpx.get(f"{server.url}/health").json())
        assert server.stop() == 0


def test_releases_that_were_wanted_long_ago_are_not_served(postgres, environ):
    with serving(environ=environ):
        pass
    (followed,) = Path(environ["LADING_CACHE"]).rglob("followed.json")
    os.utime(followed, (time.time() - 4000,) * 2)
    with stopped(postgres) as start_again, serving(environ=environ, ready=False) as server:
        server.wait_until(lambda: "catalog unreachable" in server.log)
        assert not_ready(server) == "no model is loaded: catalog unreachable, retrying"
        start_again()
        server.wait_ready()
        assert answering(server) == "iris:1"
        assert server.stop() == 0


def test_a_version_by_number_or_digest_needs_no_catalog_once_it_was_served_here(postgres, environ):
    with serving("iris:2", environ=environ) as server:
        digest = httpx.post(f"{server.url}/predict", json={"data": [[1, 2, 3, 4]]}).headers["x-lading-digest"]
    with stopped(postgres):
        for ref, workers in (("iris:2", "1"), (f"iris@{digest}", "2")):
            with serving(ref, environ=environ, flags=("--workers", workers)) as server:
                assert answering(server) == "iris:2"
                assert f"`{ref}` is served as it was resolved before" in server.log


@pytest.mark.parametrize(("ref", "workers"), [("iris", "1"), ("iris:live", "2"), ("iris:2", "1")])
def test_a_server_waits_for_the_catalog_for_what_it_does_not_know(postgres, environ, ref, workers):
    with (
        stopped(postgres) as start_again,
        serving(ref, environ=environ, ready=False, flags=("--workers", workers)) as server,
    ):
        server.wait_until(lambda: "cannot resolve references yet, retrying in 2 s" in server.log)
        assert "is PostgreSQL running there?" in server.log or "onnection refused" in server.log
        assert "catalog unreachable, retrying" in not_ready(server)
        refused = httpx.post(f"{server.url}/models/iris/predict", json={"data": [[1, 2, 3, 4]]})
        assert (refused.status_code, refused.json()["code"]) == (503, "ModelNotReady")
        assert httpx.post(f"{server.url}/v2/models/iris/infer", json={"inputs": []}).status_code == 503
        start_again()
        server.wait_until(lambda: server.log.count(" is ready: 16 golden rows agree") == int(workers))
        assert answering(server) == ("iris:2" if ref == "iris:2" else "iris:1")
        assert server.stop() == 0


def test_workers_that_waited_and_their_successors_serve_the_same_version(postgres, environ):
    with Registry.open(environ["LADING_REGISTRY"], store=environ["LADING_STORE"]) as registry:
        registry.tag("iris:1", "best")
    flags = ("--workers", "2")
    with (
        stopped(postgres) as start_again,
        serving("iris:best", environ=environ, ready=False, flags=flags) as server,
    ):
        server.wait_until(lambda: "retrying in 1 s" in server.log)
        start_again()
        server.wait_until(lambda: server.log.count(" is ready: 16 golden rows agree") == 2)
        with Registry.open(environ["LADING_REGISTRY"], store=environ["LADING_STORE"]) as registry:
            registry.tag("iris:2", "best")
        pid = server.process.pid
        first, _second = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(first), signal.SIGKILL)
        server.wait_until(lambda: server.log.count(" is ready: 16 golden rows agree") == 3)
        assert {answering(server) for _ in range(40)} == {"iris:1"}
        assert server.stop() == 0


def test_a_model_that_does_not_exist_is_reported_once_the_catalog_is_back(postgres, environ):
    with stopped(postgres) as start_again, serving("irsi:1", environ=environ, ready=False) as server:
        server.wait_until(lambda: "retrying in 0.5 s" in server.log)
        start_again()
        server.wait_until(lambda: "did you mean `iris`" in server.log)
        assert "model `irsi`" in not_ready(server)
        assert server.stop() == 0


@pytest.mark.parametrize("arguments", [(), ("iris:1",), ("--workers", "2"), ("iris:1", "--workers", "2")])
def test_a_catalog_that_is_too_new_ends_the_server(postgres, environ, arguments):
    database = environ["LADING_REGISTRY"].rpartition("/")[2]
    postgres.execute("UPDATE lading_schema SET version = 99", database)
    command = [sys.executable, "-m", "lading", "serve", *arguments, "--port", "0"]
    done = subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )
    # Waiting does not help: it is no outage, which would be 4.
    assert done.returncode == 1, done.stderr
    assert "upgrade lading here" in done.stderr


def test_health_and_metrics_say_that_the_catalog_is_slow_while_serving_goes_on(
    postgres, tmp_path, monkeypatch
):
    monkeypatch.setenv("LADING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(readiness_module, "SLOW_AFTER_S", 0.3)
    url = postgres.database()
    with Registry.open(url, store=str(tmp_path / "blobs")) as registry:
        push_proved(registry, linear_bundle(tmp_path / "iris.bundle"))
        registry.releases.begin("iris", 1, actor="ann")
        server = FollowingServer(registry)
        metrics = Metrics(server.plane)

        def shown() -> tuple[str, float, float]:
            page = samples(metrics_page(metrics, "lading").decode())
            body = msgspec.json.decode(health(None, server.plane).body)
            assert body["health"] == "ok"
            return (
                body.get("catalog", ""),
                page["lading_catalog_reachable{}"],
                page["lading_catalog_waiting_seconds{}"],
            )

        try:
            server.until(lambda: server.ready() == [1])
            assert shown()[:2] == ("", 1)
            with psycopg.connect(url) as session:
                session.execute("LOCK TABLE releases IN ACCESS EXCLUSIVE MODE")
                server.until(lambda: shown()[0].startswith("slow: no answer for "))
                text, reachable, waiting_s = shown()
                assert text.endswith("s; still serving what is loaded")
                assert (reachable, waiting_s > 0.3) == (0, True)
                assert server.ask() == 1
            server.until(lambda: shown()[:2] == ("", 1))
        finally:
            server.close()
