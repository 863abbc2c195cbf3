"""The server: loads bundles, proves them, answers, drains. Never imports packing or training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lading.ref import Ref
from lading.server.process.background import BackgroundTask
from lading.server.process.kept_process import KeptProcess, KeptRunning
from lading.server.process.log_writer import LogWriter, writer_settings
from lading.server.process.request_observers import check_traces
from lading.server.process.security import check_security
from lading.server.process.supervisor import supervise
from lading.settings import ServeSettings

__all__ = ["BackgroundTask", "KeptProcess", "serve"]


def serve(
    settings: ServeSettings,
    refs: Sequence[Ref | Path],
    registry_url: str | None = None,
    background_tasks: Sequence[BackgroundTask] = (),
    programs: Sequence[KeptRunning] = (),
) -> int:
    """Serve the models named by `refs` until SIGTERM or SIGINT, then drain; return the exit code 0.

    Without `refs` follow the releases of the registry. `background_tasks` run beside it, in every worker; the
    `programs` once for all workers.

    With several workers this process only supervises them. They are forked from it, so that they start with
    what it has imported. Raises what `process.serve.serve` and `process.supervisor.supervise` raise.
    """
    from lading.server.process.serve import serve as serve_here

    if settings.workers == 1:
        return serve_here(settings, refs, registry_url, None, background_tasks, programs)

    check_traces(settings)
    check_security(settings)
    logged = writer_settings(settings, registry_url)
    return supervise(
        settings,
        lambda worker: serve_here(settings, refs, registry_url, worker, background_tasks),
        LogWriter(logged) if logged is not None else None,
        programs,
    )
