"""The hub's pages over a registry, asked as a browser without JavaScript asks; no port is listened on."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import httpx

from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.registry import Registry


class HubPages:
    """Asks a hub over a registry; what it knows is as new as the request."""

    def __init__(self, registry: Registry) -> None:
        self._follower = Follower(registry)
        self._app = make_app(registry, self._follower)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Return the answer for a path."""
        self._follower.read()

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    def data(self, path: str) -> Any:
        """Return what the page at a path says, as programs get it."""
        answer = self.get(f"/api{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        # The hub's own scripts are on every page; any other would be somebody else's.
        if tag != "script" or not str(values.get("src")).startswith("/static/"):
            self.tags.add(tag)
        if tag == "a" and values.get("href"):
            self.links.append((str(values["href"]), values.get("rel") or ""))

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def parsed(answer: httpx.Response) -> _Text:
    """Return a page's texts, links with their ``rel``, and names of elements."""
    parser = _Text()
    parser.feed(answer.text)
    return parser


def text_of(answer: httpx.Response) -> str:
    """Return what a page says, with single spaces."""
    return re.sub(r"\s+", " ", unescape(" ".join(parsed(answer).parts)))
