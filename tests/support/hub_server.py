"""A hub in this process, on a port of its own, for real browsers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette

from lading.hub.access import Access
from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.hub.live import Live
from lading.registry import Registry
from support.hub_person import KEY
from support.ports import listening_socket

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from support.browsing import People


def signed_in(people: People, url: str, name: str = "mina@bank.example", **options: Any) -> Page:
    """Open a window, sign in as somebody does, and return to the first page."""
    page = people.visit(f"{url}/sign-in", **options)
    page.locator("#name").fill(name)
    page.locator("#key").fill(KEY)
    page.locator("main form button").click()
    page.locator("header form").wait_for()
    page.goto(url)
    return page


@dataclass
class HubServer:
    """Answers browsers at `url`; `read` has it look at the catalog at once."""

    url: str
    app: Starlette
    follower: Follower
    server: uvicorn.Server
    thread: threading.Thread
    live: Live

    @property
    def is_running(self) -> bool:
        return self.thread.is_alive()

    def stop(self) -> None:
        """End it, as SIGTERM does."""
        self.server.should_exit = True
        self.thread.join(30)

    def read(self) -> None:
        self.follower.read()


@contextlib.contextmanager
def hub_over(
    registry: Registry,
    access: Access | None = None,
    *,
    clock: Callable[[], float] = time.time,
    port: int = 0,
    follows: bool = False,
) -> Iterator[HubServer]:
    """Serve a registry's pages; what was written before is known from the first page on.

    With `follows`, it reads the catalog by itself, as `lading hub` does.
    """
    follower = Follower(registry, clock)
    if follows:
        follower.start()
    else:
        follower.read()
    app = make_app(
        registry, follower, frozenset({"127.0.0.1"}), access, clock, ending=lambda: server.should_exit
    )
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
    listener = listening_socket(port)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield HubServer(url, app, follower, server, thread, app.state.live)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        follower.close()
