"""uvicorn with answers in one write, asked over real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lading.deploy.whole_answers import write_answers_whole
from support.waiting import wait_until

BODY = b"answer"


async def app(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answer `BODY` with its length, or twice in chunks below ``/chunks``; nothing below ``/empty``."""
    await receive()
    path = scope["path"]
    body = b"" if path == "/empty" else BODY
    length = [] if path == "/chunks" else [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    if path == "/chunks":
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def connection(monkeypatch) -> Iterator[socket.socket]:
    """Return a connection to a server whose answers are written whole."""
    monkeypatch.setattr(RequestResponseCycle, "send", RequestResponseCycle.send)  # Put back at the end.
    write_answers_whole()
    options = {"lifespan": "off", "http": "httptools", "log_config": None, "ws": "none"}
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))  # type: ignore[arg-type]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    wait_until(lambda: server.started, 10)
    try:
        with socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=10) as opened:
            yield opened
    finally:
        server.should_exit = True
        thread.join()


def ask(connection: socket.socket, method: str = "GET", path: str = "/", *headers: str) -> bytes:
    """Return what the first read after a request has."""
    lines = (f"{method} {path} HTTP/1.1", "host: here", *headers, "", "")
    connection.sendall("\r\n".join(lines).encode())
    return connection.recv(65536)


def test_the_head_comes_with_the_body(connection):
    # On a kept connection, where one answer must not be held until the next.
    for _ in range(200):
        head, _, body = ask(connection).partition(b"\r\n\r\n")
        assert (head.startswith(b"HTTP/1.1 200"), body) == (True, BODY)


def test_the_first_chunk_comes_with_the_head(connection):
    first = ask(connection, "GET", "/chunks").partition(b"\r\n\r\n")[2]
    while not first.endswith(b"0\r\n\r\n"):
        first += connection.recv(65536)
    assert first == b"6\r\nanswer\r\n6\r\nanswer\r\n0\r\n\r\n"


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/"), ("GET", "/empty")])
def test_an_answer_without_a_body_is_not_held(connection, method, path):
    for _ in range(2):
        assert ask(connection, method, path).endswith(b"\r\n\r\n")


def test_an_answer_comes_before_its_connection_is_closed(connection):
    assert ask(connection, "GET", "/", "connection: close").endswith(b"\r\n\r\n" + BODY)
    assert connection.recv(1) == b""
