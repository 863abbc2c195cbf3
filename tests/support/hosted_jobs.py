"""An application in this process that takes jobs and runs them, over the registry in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lading.server.inference.version import ServedVersion
from lading.server.jobs.inner import InnerRequests
from lading.server.jobs.service import JobService, job_service
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from support.hosted_app import AppClient
from support.waiting import wait_until


@dataclass
class HostedJobs(AppClient):
    """A client of an application that takes jobs; ``inner`` asks it, on a loop that runs in a thread."""

    service: JobService
    inner: InnerRequests

    def ended(self, location: str) -> dict[str, Any]:
        """Wait for the end of a job; return it."""

        def look() -> dict[str, Any] | None:
            job = self.get(location).json()
            return job if job["state"] in ("done", "failed", "cancelled") else None

        return wait_until(look, what=lambda: self.get(location).text)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)


@contextlib.contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@contextlib.contextmanager
def hosted_jobs(
    registry: Path, *versions: ServedVersion, runs: bool = True, **settings: Any
) -> Iterator[HostedJobs]:
    """Build the application over `versions`; without `runs`, jobs only wait."""
    serve_settings = ServeSettings(jobs="on", **settings)
    plane = make_plane(serve_settings)
    plane.publish(versions)
    with job_service(serve_settings, str(registry)) as service:
        assert service is not None
        app = make_app(plane, serve_settings, job_service=service)
        with service.running(app, "here", lambda: True) as inner, running_loop() as loop:
            if runs:
                inner.attach(loop)
            yield HostedJobs(app, service, inner)
