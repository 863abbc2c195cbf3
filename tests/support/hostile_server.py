"""An HTTP server that answers whatever a test wants: without an end, too slowly, in a circle."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


Answer = Callable[[Received], Iterable[bytes]]


@dataclass
class HostileServer:
    """Where it listens, and what it was asked."""

    address: str
    requests: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextlib.contextmanager
def hostile(answer: Answer) -> Iterator[HostileServer]:
    """Send the pieces of `answer` to each request, over a real socket, until the client hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = HostileServer(f"127.0.0.1:{listener.getsockname()[1]}")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as file:
            request = _read(file)
            if request is None:
                return
            server.requests.append(request)
            for piece in answer(request):
                connection.sendall(piece)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def answered(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole answer, after which the connection closes."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status}", "connection: close", f"content-length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


def endless(head: bytes = b"HTTP/1.1 200 OK\r\n\r\n", piece: bytes = b" " * 65536) -> Iterator[bytes]:
    """Return a body that never ends."""
    yield head
    while True:
        yield piece


def dripping(text: bytes, pause_s: float = 0.05) -> Iterator[bytes]:
    """Return an answer a byte at a time."""
    for at in range(len(text)):
        yield text[at : at + 1]
        time.sleep(pause_s)


def _read(file) -> Received | None:
    method, _, rest = file.readline().decode().partition(" ")
    headers: dict[str, str] = {}
    while line := file.readline().strip().decode():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if not method:
        return None
    return Received(method, rest.split(" ")[0], headers, file.read(int(headers.get("content-length", 0))))
