"""The ports of a server: bound before anything is loaded, and refused in a sentence."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from lading.errors import InvalidSetting
from lading.server.process.sockets import listen, reserve_grpc_port
from lading.settings import ServeSettings
from support.bundles import linear_bundle


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
