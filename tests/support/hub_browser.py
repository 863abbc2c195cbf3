"""A browser of a hub in this process: no socket, no JavaScript, one request after the other."""

from __future__ import annotations

import asyncio

import httpx

from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.registry import Registry


class Browser:
    """Asks a hub that has just read the catalog."""

    def __init__(self, registry: Registry) -> None:
        follower = Follower(registry)
        follower.read()
        self._app = make_app(registry, follower)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Return the answer to a GET; an underscore in the name of a header is a hyphen."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
                names = {name.replace("_", "-"): value for name, value in headers.items()}
                return await client.get(path, headers=names)

        return asyncio.run(ask())
