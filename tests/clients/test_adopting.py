"""Real servers of other people, each in an environment of its own, adopted into the inventory."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lading.inventory import adopt
from lading.registry import Registry
from support.waiting import wait_until

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-clients"


@contextlib.contextmanager
def running(url: str, *command: str, folder: Path, ready: str) -> Iterator[str]:
    """Run a server until the block ends; wait until it answers at `ready`."""
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        wait_until(
            lambda: _answers(url + ready) or process.poll() is not None, 120, (folder / "log").read_text
        )
        assert process.poll() is None, (folder / "log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture
def mlserver(tmp_path) -> Iterator[str]:
    rest, grpc, metrics = free_ports(3)
    shutil.copytree(HERE / "mlserver_model", tmp_path / "mlserver")
    settings = f'"http_port": {rest}, "grpc_port": {grpc}, "metrics_port": {metrics}, "parallel_workers": 0'
    (tmp_path / "mlserver" / "settings.json").write_text('{"host": "127.0.0.1", ' + settings + "}")
    command = str(ENVIRONMENTS / "mlserver" / "bin" / "mlserver")
    url = f"http://127.0.0.1:{rest}"
    with running(url, command, "start", ".", folder=tmp_path / "mlserver", ready="/v2/health/ready") as url:
        yield url


def test_mlserver_is_adopted_with_its_models(mlserver, tmp_path):
    with Registry.open(str(tmp_path / "registry")) as registry:
        registry.fleet.beat(adopt(mlserver))
        (replica,) = registry.fleet.replicas()
    assert replica.pattern == "foreign"
    assert replica.address == mlserver
    assert replica.software.startswith("mlserver 1.")
    (model,) = replica.models
    assert (model.name, model.version_text, model.state) == ("echo", "v2.1", "ready")
    assert model.input_format == "X: fp32 [-1, 4]"
    assert [model.state for model in adopt(mlserver, ["nobody"]).models] == ["unavailable"]


def test_mlflow_is_adopted_with_its_version(tmp_path):
    (port,) = free_ports(1)
    command = (str(ENVIRONMENTS / "mlflow" / "bin" / "python"), str(HERE / "mlflow_server.py"), str(port))
    with running(f"http://127.0.0.1:{port}", *command, folder=tmp_path, ready="/ping") as url:
        replica = adopt(url, ["sum"])
    assert replica.software.startswith("mlflow ")
    assert [(model.name, model.state) for model in replica.models] == [("sum", "ready")]
