"""The jobs of one serving process, as one part of it: the registry, the worker and the webhooks.

Made before the application, whose routes submit to it; it works from `running` on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lading.errors import UsageError
from lading.jobs import JobRecord, Submission
from lading.registry import Registry
from lading.server.http.app import App
from lading.server.jobs.hook_rules import HookRules
from lading.server.jobs.inner import InnerRequests
from lading.server.jobs.intake import Intake
from lading.server.jobs.webhooks import Webhooks
from lading.server.jobs.worker import Home, JobWorker
from lading.server.metrics.jobs import JobCounts
from lading.settings import ServeSettings

_STOP_TIMEOUT_S = 5.0


class JobService:
    """Takes jobs, and runs those of the catalog; raises `InvalidSetting` for secrets that cannot be read."""

    def __init__(self, registry: Registry, settings: ServeSettings) -> None:
        self.registry = registry
        self.settings = settings
        self.rules = HookRules(settings)
        self._intake = Intake(registry.jobs, settings.max_jobs)
        self._worker: JobWorker | None = None

    def submit(self, submission: Submission) -> JobRecord:
        """Store a job, and have it looked for at once. Raises what `Jobs.submit` raises."""
        record = self._intake.store(submission)
        if self._worker is not None:
            self._worker.wake()
        return record

    @contextmanager
    def running(self, app: App, replica: str, is_leader: Callable[[], bool]) -> Iterator[InnerRequests]:
        """Run jobs and deliver webhooks until the block ends; yield what has to know the event loop.

        The block must end after the loop: what is under way then is given back.
        """
        counts = JobCounts(app.metrics.store)
        inner = InnerRequests(app)
        webhooks = [Webhooks(self.registry, self.rules, counts)] if self.rules.signs else []

        def webhook_due() -> None:
            for part in webhooks:
                part.wake()

        home = Home(replica, is_leader, webhook_due)
        self._worker = JobWorker(self.registry, inner, app.plane, self.settings, counts, home)
        parts: list[JobWorker | Webhooks] = [self._worker, *webhooks]
        # Daemons: one that waits for a catalog that is unreachable does not keep the process alive.
        threads = [threading.Thread(target=part.run, name="jobs", daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        try:
            yield inner
        finally:
            for part in parts:
                part.stop()
            for thread in threads:
                thread.join(_STOP_TIMEOUT_S)


@contextmanager
def job_service(settings: ServeSettings, registry_url: str | None) -> Iterator[JobService | None]:
    """Yield the service over the registry at that URL; None unless the settings turn jobs on.

    Raises `InvalidSetting`, and `UsageError` for a registry that is read-only.
    """
    if settings.jobs == "off":
        yield None
        return
    # A catalog that is unreachable when the server starts is waited for.
    with Registry.open(registry_url, at_once=False) as registry:
        if registry.read_only:
            expected = "a registry that can be written to"
            raise UsageError("`--jobs`", expected=expected, found=f"`{registry.where}`, which is read-only")
        yield JobService(registry, settings)
