"""The server: loads bundles, proves them, answers, drains. Never imports packing or training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lading.ref import Ref
from lading.server.process.background import BackgroundTask
from lading.settings import ServeSettings

__all__ = ["BackgroundTask", "serve"]


def serve(
    settings: ServeSettings,
    refs: Sequence[Ref | Path],
    registry_url: str | None = None,
    companions: Sequence[BackgroundTask] = (),
) -> int:
    """Serve the models named by `refs` until SIGTERM or SIGINT, then drain; return the exit code 0.

    Without `refs` follow the releases of the registry. `companions` run beside it, in every worker.

    With several workers this process only looks after them; they are forked from what it has imported, and
    are there at once. Raises what `lifecycle.serve` and `workers.supervise` raise.
    """
    from lading.server.process.serve import serve as live

    if settings.workers == 1:
        return live(settings, refs, registry_url, None, companions)
    from lading.server.process.supervisor import supervise

    return supervise(settings, lambda seat: live(settings, refs, registry_url, seat, companions))
