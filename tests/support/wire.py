"""A server in a thread of this process, and a socket client that sends bytes as they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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
        self.sent_bytes = 0

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)
        self.sent_bytes += len(data)

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

    def has_answer(self) -> bool:
        """Return whether anything has arrived that is not read yet, without waiting for it."""
        readable, _, _ = select.select([self.socket], [], [], 0)
        return bool(readable)

    def is_closed(self) -> bool:
        """Wait for the next byte or the end; return whether it is the end."""
        return self.file.read(1) == b""

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class _ReceivedBytes:
    """How many bytes the server has read of each connection, by the client's address."""

    def __init__(self) -> None:
        self._counts: dict[object, int] = {}
        self._changed = threading.Condition()

    def counting(self, protocol: type[HttpToolsProtocol]) -> type[HttpToolsProtocol]:
        """Return a subclass of `protocol` whose connections are counted."""
        received = self

        class Counted(protocol):  # type: ignore[valid-type, misc]  # `protocol` is a value
            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                received.add(self.client, -received.count(self.client))

            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                received.add(self.client, len(data))

        return Counted

    def count(self, client: object) -> int:
        return self._counts.get(client, 0)

    def add(self, client: object, size_bytes: int) -> None:
        with self._changed:
            self._counts[client] = self.count(client) + size_bytes
            self._changed.notify_all()

    def wait(self, client: object, size_bytes: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count(client) >= size_bytes, 10)


@dataclass
class Listening:
    """A server that listens, and its parts."""

    address: tuple[str, int]
    server: _WatchedServer
    app: App
    stage: Any
    received: _ReceivedBytes

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.server.loop

    @property
    def connections(self) -> set[Any]:
        """The connections that are open."""
        return self.server.server_state.connections

    @contextlib.contextmanager
    def wire(self) -> Iterator[Wire]:
        wire = Wire(self.address)
        try:
            yield wire
        finally:
            wire.close()

    def run_in_loop(self, function: Callable[..., object], *arguments: object) -> None:
        """Run `function` in the server's event loop, after all that is scheduled there."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (function(*arguments), done.set()))
        assert done.wait(10)

    def wait_read(self, wire: Wire) -> None:
        """Wait until the server has read and parsed all that `wire` has sent."""
        self.received.wait(wire.socket.getsockname(), wire.sent_bytes)
        self.run_in_loop(lambda: None)

    def begin_shutdown(self) -> None:
        """Have the server end; return once each connection has begun to close."""
        self.server.should_exit = True
        assert self.server.shutting_down.wait(10)


class _WatchedServer(HttpServer):
    """A server that says which event loop it runs in, and when it begins to shut down."""

    loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.shutting_down = threading.Event()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn tells every connection to close before it waits for the first time.
        self.loop.call_soon(self.shutting_down.set)
        await super().shutdown(sockets)


@contextlib.contextmanager
def listening(
    app: App, settings: ServeSettings, *, fast: bool, certificate: Path | None = None
) -> Iterator[Listening]:
    """Serve `app` on a free port until the block ends: through the `fast` routes or under plain ASGI.

    It speaks TLS with a `certificate`, a file that has the key as well.
    """
    config = uvicorn_config(app, settings)
    if certificate is not None:
        config.ssl_certfile = str(certificate)
    if not fast:
        config.http = HttpToolsProtocol
        config.app = AsgiHost(app, documentation_pages)
    assert isinstance(config.http, type)
    received = _ReceivedBytes()
    config.http = received.counting(config.http)
    grpc = GrpcListener(app.pipeline, settings, reserve_grpc_port(settings))
    server = _WatchedServer(config, Manager(app.plane), grpc, settings)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started, what="the server has started")
    stage = getattr(config.http, "stage", None)
    try:
        yield Listening(listener.getsockname(), server, app, stage, received)
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()
