"""A person at a hub, in this process: signs in, follows links, and sends the forms that pages have."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from typing import Any

import httpx

from lading.hub.access import Access
from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.registry import Registry

KEY = "correct-horse-battery-staple-0123456789"
ORIGIN = "http://hub"


def app_of(registry: Registry, access: Access | None = None) -> Any:
    """Return a hub with a key over a registry that it has just read."""
    follower = Follower(registry)
    follower.read()
    return make_app(registry, follower, access=access or Access(KEY))


class Form(HTMLParser):
    """The last form of a page that is sent by POST and is not the one for signing out: its fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._inside, self._last = False, ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = values.get("method") == "post" and values["action"] != "/sign-out"
            if self._inside:
                self.action, self.fields = values["action"], {}
        elif tag in ("input", "select") and self._inside:
            self._last = values["name"]
            self.fields[self._last] = values.get("value", "")
        elif tag == "option" and self._inside and "selected" in values:
            self.fields[self._last] = values["value"]

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"


class Person:
    """Somebody's browser: keeps cookies, and says of its forms which page they are from."""

    def __init__(self, app: Any, name: str = "") -> None:
        self.cookies = httpx.Cookies()
        self._app = app
        if name:
            answer = self.sign_in(name)
            assert answer.status_code == 303, answer.text

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Return the answer for a path; redirects are not followed."""
        return self.send("GET", path, headers=headers)

    def post(self, path: str, fields: Any = None, **headers: str) -> httpx.Response:
        """Send a form from a page of the hub."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, headers={"origin": ORIGIN, **named}, data=fields or {})

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send any request, with the cookies."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url=ORIGIN, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(ask())

    def sign_in(self, name: str, key: str = KEY, model: str = "") -> httpx.Response:
        """Sign in, as the page lets people do it."""
        form = Form(self.get(f"/sign-in?model={model}" if model else "/sign-in").text)
        return self.post(form.action, {**form.fields, "name": name, "key": key})

    def form(self, act: str, name: str = "iris") -> Form:
        """Open the page of an act, and return its form."""
        return Form(self.get(f"/models/{name}/release/{act}").text)

    def act(self, act: str, reason: str = "because", name: str = "iris") -> httpx.Response:
        """Open the page of an act, and send its form."""
        form = self.form(act, name)
        return self.post(form.action, {**form.fields, "reason": reason})
