"""`lading serve --hub`: the pages in a process beside the server, which lives and ends with it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from lading.registry import Registry
from support.bundles import linear_bundle
from support.recorded_evidence import push_proved
from support.server_process import ServerProcess, serving
from support.waiting import wait_until

HUB = re.compile(r"the hub is at (http://[\w.:]+:\d+)/")


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    """Return the environment of a server whose registry has a released model."""
    with Registry.open(str(tmp_path / "registry")) as registry:
        push_proved(registry, linear_bundle(tmp_path / "iris"))
        registry.release("iris:1", actor="ann")
    return {"LADING_REGISTRY": str(tmp_path / "registry"), "HOME": str(tmp_path)}


def hub_url(server: ServerProcess, starts: int = 1) -> str:
    """Return the address of the hub once it has been started so many times."""
    server.wait_until(lambda: len(HUB.findall(server.log)) == starts)
    return HUB.findall(server.log)[-1]


def hub_pids(server: ServerProcess) -> list[int]:
    """Return the processes of the hub that the server has started."""
    pids = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    children = {int(pid) for file in pids for pid in file.read_text().split()}
    return [pid for pid in children if b"lading.hub.beside" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not asked for does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_hub_shows_its_server_and_both_end_by_sigterm(environ, workers):
    flags = ("--hub", "--hub-port", "0", "--grpc-port", "0", "--workers", workers)
    with serving(flags=flags, environ=environ) as server:
        url = hub_url(server)
        wait_until(lambda: "iris" in httpx.get(f"{url}/models").text, 30)
        server.wait_until(lambda: httpx.get(f"{url}/api/home").json()["data"]["replicas"] == 1)
        (hub,) = hub_pids(server)
        assert server.stop() == 0
        assert not runs(hub)
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
    assert "Traceback" not in server.log


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hub_that_dies_is_started_again_and_the_server_stays_ready(environ, workers):
    flags = ("--hub", "--hub-port", "0", "--grpc-port", "0", "--workers", workers)
    with serving(flags=flags, environ=environ) as server:
        url = hub_url(server)
        (hub,) = hub_pids(server)
        os.kill(hub, signal.SIGKILL)
        assert httpx.get(f"{server.url}/health").status_code == 200
        # The same address: the socket is the server's, and a request of meanwhile waits.
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        assert hub_url(server, starts=2) == url
        assert "ERROR the hub ended (-9); starting another in 0 s" in server.log
        assert hub_pids(server) != [hub]
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert server.stop() == 0


@pytest.mark.slow
def test_a_hub_ends_with_a_server_that_was_killed(environ):
    with serving(flags=("--hub", "--hub-port", "0", "--grpc-port", "0"), environ=environ) as server:
        hub_url(server)
        (hub,) = hub_pids(server)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not runs(hub), 30)


@pytest.mark.slow
def test_a_server_without_a_hub_imports_nothing_of_it(environ):
    environ = {**environ, "PYTHONPROFILEIMPORTTIME": "1"}
    with serving(flags=("--grpc-port", "0"), environ=environ) as server:
        assert server.stop() == 0
    assert "lading.server.process.serve" in server.log
    assert "lading.hub" not in server.log.replace("lading.cli.commands.hub", "")
    assert "jinja2" not in server.log


def test_a_hub_needs_a_registry(lading, bundle, monkeypatch):
    monkeypatch.delenv("LADING_REGISTRY", raising=False)
    code, _, stderr = lading("serve", bundle.path, "--hub")
    assert code == 2
    assert "`--hub`: expected a registry, found bundles from directories alone" in stderr
    assert "hint: name one by `--registry`" in stderr


def test_a_port_of_the_hub_that_is_taken_is_said_before_anything_is_served(lading, bundle, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        url = str(tmp_path / "registry")
        code, _, stderr = lading("serve", bundle.path, "--hub", "--hub-port", port, "--registry", url)
    assert code == 2
    assert f"`--hub-port`: expected an address that is free, found `127.0.0.1:{port}`" in stderr
    assert not Path(url).exists()


def test_a_hub_without_its_extra_says_what_to_install(lading, bundle, tmp_path, monkeypatch):
    spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jinja2" else spec(name))
    code, _, stderr = lading("serve", bundle.path, "--hub", "--registry", tmp_path / "registry")
    assert code == 2
    assert "`lading serve --hub`: expected the extra `hub`, found no module `jinja2`" in stderr
    assert "hint: `pip install 'lading-ml[hub]'`" in stderr
