"""The application over real models in this process, called through ASGI as any server would call it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from lading.bundle import Bundle
from lading.runtime import Runtime
from lading.server.http.app import App
from lading.server.http.asgi import AsgiHost
from lading.server.inference.inline_runs import InlineRuns, RowSize
from lading.server.inference.loaded import Cost
from lading.server.inference.version import ServedVersion, State
from lading.server.loading.loader import prepare
from lading.server.process.compose import documentation_pages, make_app, make_plane
from lading.settings import ServeSettings
from lading.verify.golden_replay import repeat_rows


def served_from(bundle: Bundle, version: int = 1, tags: tuple[str, ...] = ()) -> ServedVersion:
    """Load one version as the manager does, with its golden samples replayed."""
    name = bundle.manifest.name
    served = ServedVersion(name, version, bundle.digest, tags=tags)
    prepare(served, bundle, threads=1)
    served.advance(State.READY)
    return served


class GatedRuntime:
    """A loaded model whose runs wait at a gate until it opens, each for at most `seconds`.

    ``rows`` has the rows of each run that has arrived; ``entered`` is set once there was one.
    """

    def __init__(self, runtime: Runtime, seconds: float) -> None:
        self.inputs, self.outputs = runtime.inputs, runtime.outputs
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.rows: list[int] = []
        self._runtime = runtime
        self._seconds = seconds

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> Any:
        gate = self.gate
        self.rows.append(len(next(iter(inputs.values()))))
        self.entered.set()
        gate.wait(self._seconds)
        return self._runtime.run(inputs, outputs)

    def release_entered(self) -> None:
        """Let those runs pass that wait now; later ones wait at a gate of their own."""
        gate, self.gate = self.gate, threading.Event()
        gate.set()

    def terminate(self) -> None:
        self.release_entered()

    def close(self) -> None:
        self._runtime.close()


def gated(served: ServedVersion, seconds: float) -> GatedRuntime:
    """Make `served` as slow as a model that takes `seconds`, or until its gate opens."""
    # A real model that takes seconds would keep one of two CPUs busy for every other test.
    runtime = GatedRuntime(served.model.runtime, seconds)
    served.adopt(replace(served.model, runtime=runtime, cost=Cost(seconds, 0)))
    expect_long(served)
    return runtime


class _TrustedRuns(InlineRuns):
    """Runs that nobody doubts: a busy machine makes one long now and then, and it would run once more."""

    def doubt(self, size: RowSize) -> None:
        pass


def expect_long(served: ServedVersion) -> None:
    """Have every run of `served` queued, however short it turns out to be."""
    served.adopt(replace(served.model, inline_runs=InlineRuns(served.signature, learns=False)))


def expect_short(served: ServedVersion) -> None:
    """Have every run of `served` stay in the thread of its caller, however long one takes."""
    runs = _TrustedRuns(served.signature)
    runs.measured(repeat_rows(served.signature, served.samples.inputs, 1), 2**62)
    served.adopt(replace(served.model, inline_runs=runs))


@dataclass
class AppClient:
    """An HTTP client of an application in this process."""

    app: App

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(
                AsgiHost(self.app, documentation_pages), raise_app_exceptions=True
            )
            async with httpx.AsyncClient(transport=transport, base_url="http://lading") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.request("POST", path, **({"json": json} if json is not None else {}), **options)


def hosted(*versions: ServedVersion, **settings: Any) -> AppClient:
    """Build the application over `versions`."""
    serve_settings = ServeSettings(**settings)
    plane = make_plane(serve_settings)
    plane.publish(versions)
    return AppClient(make_app(plane, serve_settings))
