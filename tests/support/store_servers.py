"""Real servers for stores, on 127.0.0.1 only: docker-registry, moto's S3, a proxy that cuts connections."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.waiting import wait_until

AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
NUMBERS = itertools.count(1)
MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("listening on 127.0.0.1:%d" % server.get_host_and_port()[1], file=sys.stderr, flush=True)
sys.stdin.read()
"""


class Server:
    """A process that says on stderr where it listens; its output is kept in a file."""

    def __init__(self, command: list[str], folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.address = self._wait()

    def _wait(self) -> str:
        def listening() -> re.Match[str] | None:
            line = re.search(r"listening on (127\.0\.0\.1:\d+)", self.log.read_text())
            assert line or self._process.poll() is None, f"it ended:\n{self.log.read_text()}"
            return line

        try:
            return wait_until(listening, 60, self.log.read_text)[1]
        except AssertionError:
            self.stop()
            raise

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the process and wait for it."""
        self._process.send_signal(how)
        self._process.communicate(timeout=30)


def docker_registry(
    folder: Path, *, address: str = "127.0.0.1:0", more: str = "", deletes: bool = True
) -> Server:
    """Start the registry of the Debian package `docker-registry`; `more` is appended to its configuration."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is missing: `make services` installs it"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder / 'data'}\n"
        f"  delete:\n    enabled: {str(deletes).lower()}\nhttp:\n  addr: {address}\n  secret: one\n{more}"
    )
    return Server([program, "serve", str(config)], folder, "docker-registry")


def moto(folder: Path) -> Server:
    """Start moto's server of S3; what it keeps is gone with it."""
    return Server([sys.executable, "-c", MOTO], folder, "moto")


class Relay:
    """Accepts connections that are for `server` at an address of its own, and has `carry` pass them on."""

    def __init__(self, server: str) -> None:
        host, _, port = server.rpartition(":")
        self.server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def carry(self, client: socket.socket) -> None:
        """Pass one connection on; called in a thread of its own."""
        raise NotImplementedError

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self.carry, args=(client,), daemon=True).start()


class Proxy(Relay):
    """Passes connections on to a server until `cut_after` bytes went up or down in one of them.

    A connection is cut without a word, `cuts` times in all; later ones pass, or with `ends` none does.
    """

    def __init__(self, server: str) -> None:
        self.cut_after: int | None = None
        self.cuts = 0
        self.ends = False
        self.gone = False
        self.bytes_up = 0
        super().__init__(server)

    def carry(self, client: socket.socket) -> None:
        """Pass both ways, each in a thread."""
        if self.gone:
            client.close()
            return
        try:
            server = socket.create_connection(self.server)
        except OSError:
            client.close()
            return
        both = (client, server)
        for source, sink in (both, both[::-1]):
            threading.Thread(target=self._copy, args=(source, sink, both), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, both: tuple[socket.socket, ...]) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                cuts = self.cuts > 0 and self.cut_after is not None and passed + len(data) >= self.cut_after
                if cuts:
                    self.cuts -= 1
                    self.gone = self.ends
                    data = data[: (self.cut_after or 0) - passed]
                sink.sendall(data)
                passed += len(data)
                if source is both[0]:
                    self.bytes_up += len(data)
                if cuts:
                    break
        for end in both:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()


@contextlib.contextmanager
def proxy(server: str) -> Iterator[Proxy]:
    """Return a proxy before `server` and close it in the end."""
    opened = Proxy(server)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="session")
def oci_server(tmp_path_factory) -> Iterator[Server]:
    server = docker_registry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory) -> Iterator[Server]:
    server = moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.stop()


@pytest.fixture
def oci_url(oci_server) -> str:
    """Return the URL of an empty store in a repository of its own."""
    return f"oci://{oci_server.address}/models/r{next(NUMBERS)}"


@pytest.fixture(scope="session")
def s3_buckets(s3_server) -> Iterator[Any]:
    """Return a client that makes buckets; one for all tests, because making a client takes 0.2 s."""
    from lading.registry.store.s3 import s3_client

    with pytest.MonkeyPatch.context() as patch:
        _lead_to(s3_server, patch)
        client = s3_client(os.environ)
    yield client
    client.close()


@pytest.fixture
def s3_url(s3_server, s3_buckets, monkeypatch) -> str:
    """Return the URL of an empty store in a bucket of its own, with the environment that leads there."""
    _lead_to(s3_server, monkeypatch)
    bucket = f"bucket-{next(NUMBERS)}"
    s3_buckets.create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/prefix"


def _lead_to(server: Server, patch: pytest.MonkeyPatch) -> None:
    for name, value in {**AWS, "AWS_ENDPOINT_URL": f"http://{server.address}"}.items():
        patch.setenv(name, value)
