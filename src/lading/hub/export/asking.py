"""Asks the application for its answers in this process, as a browser would over a socket."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import msgspec

from lading.hub.export.names import Address


class Answer(msgspec.Struct, frozen=True):
    """An answer of the application."""

    status: int
    body: bytes


async def ask(app: Any, address: Address, language: str) -> Answer:
    """Return what the application answers to a GET of an address."""
    status, parts, asked, answered = 500, list[bytes](), False, asyncio.Event()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(address.path),
        "raw_path": address.path.encode(),
        "query_string": address.query.encode(),
        "root_path": "",
        "headers": [(b"host", b"hub"), (b"accept-language", language.encode())],
        "client": None,
        "server": ("hub", 80),
    }

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            # Who asks again waits for the caller to hang up.
            await answered.wait()
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                answered.set()

    await app(scope, receive, send)
    return Answer(status, b"".join(parts))
