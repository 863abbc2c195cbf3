"""The application over real models, in this process; asked through ASGI as any server would ask it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from lading.bundle import Bundle
from lading.server.app import App
from lading.server.asgi import AsgiHost
from lading.server.life import make_app, make_plane
from lading.server.manager import Wanted, load
from lading.server.states import Served
from lading.settings import ServeSettings


def served_from(bundle: Bundle, version: int = 1, tags: tuple[str, ...] = ()) -> Served:
    """Load one version as the manager does, proof and all."""
    name = bundle.manifest.name
    served = Served(name, version, bundle.digest, tags=tags)
    load(served, Wanted(name, version, bundle.digest, lambda: bundle, tags), threads=1)
    return served


@dataclass
class Asked:
    """The application, and a way to ask it."""

    app: App

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(AsgiHost(self.app), raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://lading") as client:
                return await client.request(method, path, **given)

        return asyncio.run(ask())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, json: Any = None, **given: Any) -> httpx.Response:
        return self.request("POST", path, **({"json": json} if json is not None else {}), **given)


def hosted(*versions: Served, **settings: Any) -> Asked:
    """Build the application over `versions`."""
    given = ServeSettings(**settings)
    plane = make_plane(given)
    plane.publish(versions)
    return Asked(make_app(plane, given))
