"""The ports of a server: bound before anything is loaded, and refused in a sentence."""

from __future__ import annotations

import socket
import subprocess
import sys

import httpx
import pytest

from lading.errors import InvalidSetting
from lading.server.process.sockets import address_of, listen, reserve_grpc_port
from lading.settings import ServeSettings
from support.bundles import linear_bundle
from support.waiting import wait_until


@pytest.mark.parametrize("host", ["999.1.1.1", "8.8.8.8"])
@pytest.mark.parametrize("bind", [listen, reserve_grpc_port])
def test_an_address_of_another_machine_is_not_called_a_taken_port(host, bind):
    with pytest.raises(InvalidSetting) as refused:
        bind(ServeSettings(host=host, port=0, grpc_port=0))
    assert refused.value.message.startswith(f"`{host}`: expected an address of this machine, found ")
    assert refused.value.hint == "`--host 0.0.0.0` listens on all"


def test_the_reserved_grpc_port_can_be_shared_by_our_workers_and_not_by_another_server():
    reserved = reserve_grpc_port(ServeSettings(grpc_port=0))
    assert reserved is not None
    port = reserved.getsockname()[1]
    with reserved, socket.socket() as worker:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        worker.bind(("127.0.0.1", port))
        with pytest.raises(InvalidSetting, match=f"127.0.0.1:{port}"):
            reserve_grpc_port(ServeSettings(grpc_port=port))


def test_no_port_is_reserved_without_grpc():
    assert reserve_grpc_port(ServeSettings(grpc_port=-1)) is None


@pytest.mark.slow
def test_a_port_that_is_taken_is_refused_with_a_hint(tmp_path):
    linear_bundle(tmp_path / "iris")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "lading", "serve", str(tmp_path / "iris"), "--port", port]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert "hint: " in done.stderr


def test_the_file_of_a_unix_socket_is_removed_by_the_server_that_has_it(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(path))  # Left over by a server that was killed.
    settings = ServeSettings(host=f"unix:{path}")
    first = listen(settings)
    assert address_of(first) == f"unix:{path}"
    with pytest.raises(InvalidSetting, match="expected a free path"):
        listen(settings)
    path.unlink()
    with listen(settings):
        first.close()
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize("path", ["missing/socket", "x" * 200, "file"])
def test_a_path_that_cannot_be_a_unix_socket_is_refused(tmp_path, path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(InvalidSetting) as refused:
        listen(ServeSettings(host=f"unix:{tmp_path / path}"))
    assert refused.value.hint
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_answers_over_a_unix_socket_until_it_drains(tmp_path, workers):
    linear_bundle(tmp_path / "iris")
    path, log = tmp_path / "socket", tmp_path / "log"
    command = [sys.executable, "-m", "lading", "serve", str(tmp_path / "iris"), "--workers", workers]
    with log.open("w") as stderr:
        server = subprocess.Popen([*command, "--host", f"unix:{path}"], stderr=stderr)
    transport = httpx.HTTPTransport(uds=str(path), retries=0)
    try:
        with httpx.Client(transport=transport, base_url="http://lading") as client:
            wait_until(lambda: f"listening on unix:{path}" in log.read_text())
            wait_until(lambda: client.get("/health").status_code == 200)
            answer = client.post("/predict", json={"data": [[1, 2, 3, 4]]})
            assert answer.status_code == 200
        wait_until(lambda: "grpc://127.0.0.1:" in log.read_text())
        server.terminate()
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.wait()
    assert not path.exists()
    assert "Traceback" not in log.read_text()
