"""A registry, and a browser without JavaScript that asks a hub over it, on a port of its own."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn

from lading.hub.app import make_app
from lading.hub.follower import Follower
from lading.registry import Registry
from support.bundles import linear_bundle
from support.ports import listening_socket
from support.recorded_evidence import push_proved


@pytest.fixture
def registry(tmp_path) -> Iterator[Registry]:
    with Registry.open(str(tmp_path / "registry")) as opened:
        yield opened


@pytest.fixture
def follower(registry) -> Follower:
    """Return what follows the registry, in no thread of its own: `browser` has it read."""
    return Follower(registry)


@pytest.fixture
def browser(registry, follower) -> Iterator[httpx.Client]:
    """Yield a client before whose requests the catalog is read again."""
    config = uvicorn.Config(
        make_app(registry, follower, frozenset({"127.0.0.1", "[::1]"}), ending=lambda: server.should_exit),
        log_config=None,
        ws="none",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    listener = listening_socket()
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    hooks = {"request": [lambda _request: follower.read()]}
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, event_hooks=hooks, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


@pytest.fixture
def push(registry, tmp_path) -> Callable[..., None]:
    """Return a function that pushes the next version of a model, with evidence unless `proved` is False."""
    numbers = itertools.count()

    def push(name: str = "iris", *, proved: bool = True, **changes) -> None:
        number = next(numbers)
        bundle = linear_bundle(tmp_path / f"{name}-{number}", name, seed=number, **changes)
        if proved:
            push_proved(registry, bundle)
        else:
            registry.push(bundle)

    return push
