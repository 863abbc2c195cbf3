"""A listening application in a thread of this process, and a socket client that sends bytes as they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lading.server.http.app import App
from lading.server.http.asgi import AsgiHost
from lading.server.loading.manager import Manager
from lading.server.process.compose import documentation_pages
from lading.server.process.grpc_listener import GrpcListener
from lading.server.process.http_server import HttpServer, uvicorn_config
from lading.server.process.sockets import reserve_grpc_port
from lading.settings import ServeSettings
from support.waiting import wait_until


@dataclass
class Answer:
    """One HTTP answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes
    version: str = "HTTP/1.1"

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection; reads answers byte by byte as HTTP/1.1 says."""

    def __init__(self, address: tuple[str, int], encryption: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        if encryption is not None:
            self.socket = encryption.wrap_socket(self.socket, server_hostname="lading.test")
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, head: bool = False) -> Answer:
        line = self.file.readline().decode().rstrip()
        assert line, "the connection was closed without an answer"
        version, status, _ = line.split(" ", 2)
        headers: dict[str, str] = {}
        while (row := self.file.readline().decode().rstrip()) != "":
            name, _, value = row.partition(": ")
            headers[name] = value
        body = b"" if head or status == "100" else self._body(headers)
        return Answer(int(status), headers, body, version)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.file.readline(), 16):
                parts.append(self.file.read(size))
                self.file.readline()
            self.file.readline()
            return b"".join(parts)
        return self.file.read(int(headers.get("content-length", "0")))

    def is_closed(self) -> bool:
        return self.file.read(1) == b""

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@dataclass
class Listening:
    """Where the application listens."""

    address: tuple[str, int]
    server: HttpServer
    loop: asyncio.AbstractEventLoop
    app: App
    stage: Any = None

    @contextlib.contextmanager
    def wire(self) -> Iterator[Wire]:
        wire = Wire(self.address)
        try:
            yield wire
        finally:
            wire.close()


class _LoopServer(HttpServer):
    """A server that says which event loop it runs in."""

    loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)


@contextlib.contextmanager
def listening(
    app: App, settings: ServeSettings, *, fast: bool, certificate: Path | None = None
) -> Iterator[Listening]:
    """Serve `app` on a free port until the block ends: through the `fast` routes or under plain ASGI.

    `certificate`, a file with its key in it, has it speak TLS.
    """
    config = uvicorn_config(app, settings)
    if certificate is not None:
        config.ssl_certfile = str(certificate)
    if not fast:
        config.http = "httptools"
        config.app = AsgiHost(app, documentation_pages)
    grpc = GrpcListener(app.pipeline, settings, reserve_grpc_port(settings))
    server = _LoopServer(config, Manager(app.plane), grpc, settings)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started, what="the server has started")
    try:
        yield Listening(listener.getsockname(), server, server.loop, app, getattr(config.http, "stage", None))
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()
