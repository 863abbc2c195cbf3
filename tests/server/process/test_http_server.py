"""The HTTP server's drain: not ready any more, still answering, then ended."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from support.bundles import linear_bundle
from support.server_process import ServerProcess, serving

pytestmark = pytest.mark.slow

ROW = json.dumps({"data": [[1, 2, 3, 4]]}).encode()


@pytest.fixture
def iris(tmp_path):
    return linear_bundle(tmp_path / "iris").path


@pytest.fixture
def server(iris) -> Iterator[ServerProcess]:
    """A server that drains for three seconds."""
    with serving(iris, flags=("--drain-delay-s", "3")) as server:
        yield server


def wait_until_not_ready(server: ServerProcess, client: httpx.Client) -> None:
    server.wait_until(lambda: client.get(f"{server.url}/health").status_code == 503)


def test_requests_are_answered_while_the_server_drains(server):
    with httpx.Client() as client:
        assert client.post(f"{server.url}/predict", content=ROW).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until_not_ready(server, client)
        assert client.get(f"{server.url}/health").json()["health"] == "draining"
        assert client.post(f"{server.url}/predict", content=ROW).status_code == 200
        assert httpx.post(f"{server.url}/predict", content=ROW).status_code == 200
        assert server.process.wait(10) == 0


def test_no_request_fails_while_clients_keep_asking_through_a_drain(server):
    failures: list[str] = []
    answered = [0]
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client() as client:
            while not stop.is_set():
                answer = client.post(f"{server.url}/predict", content=ROW)
                answered[0] += 1
                if answer.status_code != 200:
                    failures.append(answer.text)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    server.wait_until(lambda: answered[0] > 20)
    server.process.send_signal(signal.SIGTERM)
    with httpx.Client() as client:
        wait_until_not_ready(server, client)
    before = answered[0]
    server.wait_until(lambda: answered[0] > before + 20)  # As a load balancer that has not seen the 503.
    stop.set()
    for client in clients:
        client.join()
    assert server.process.wait(10) == 0
    assert failures == []


@pytest.mark.parametrize("kind", [signal.SIGHUP, signal.SIGQUIT])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_hangup_and_a_quit_drain(iris, kind, workers):
    flags = ("--workers", str(workers), "--drain-delay-s", "1")
    with serving(iris, flags=flags) as server, httpx.Client() as client:
        for pid in (*server.worker_pids(), server.process.pid):  # A terminal sends it to every process.
            os.kill(pid, kind)
        wait_until_not_ready(server, client)
        assert client.get(f"{server.url}/health").json()["health"] == "draining"
        assert server.process.wait(30) == 0
        assert "drained; bye" in server.log


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain_delay(iris, kind):
    with serving(iris, flags=("--drain-delay-s", "60")) as server, httpx.Client() as client:
        server.process.send_signal(signal.SIGTERM)
        wait_until_not_ready(server, client)
        asked_at = time.monotonic()
        server.process.send_signal(kind)
        assert server.process.wait(30) == 0
        assert time.monotonic() - asked_at < 30
