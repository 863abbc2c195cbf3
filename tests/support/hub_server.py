"""A hub in this process, on a port of its own, for real browsers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from lading.hub.access import Access
from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.registry import Registry
from support.ports import listening_socket


@dataclass
class HubServer:
    """Answers browsers at `url`; `read` has it look at the catalog at once."""

    url: str
    app: Starlette
    follower: Follower

    def read(self) -> None:
        self.follower.read()


@contextlib.contextmanager
def hub_over(
    registry: Registry, access: Access | None = None, *, clock: Callable[[], float] = time.time
) -> Iterator[HubServer]:
    """Serve a registry's pages; what was written before is known from the first page on."""
    follower = Follower(registry, clock)
    follower.read()
    app = make_app(registry, follower, frozenset({"127.0.0.1"}), access, clock)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
    listener = listening_socket()
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield HubServer(f"http://127.0.0.1:{listener.getsockname()[1]}", app, follower)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
