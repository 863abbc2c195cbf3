"""Whether this server is ready, and why not: decided here once, for every protocol to write in its own form.

Loading states what only it can know; the states of the versions are read when somebody asks. Loads nothing
and knows no status code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lading.errors import ModelNotReady
from lading.server.inference.version import ServedVersion, State
from lading.server.inference.version_table import VersionTable, nothing_loaded

CATALOG_UNREACHABLE = "catalog unreachable, retrying"

# Worst first: of several versions that are not ready, the first of these is the one that is reported.
_HEALTH_BY_STATE = {
    State.FAILED: "failed",
    State.LOADING: "loading",
    State.WARMING: "loading",
    State.DRAINING: "draining",
    State.UNLOADED: "draining",
}


@dataclass(frozen=True, slots=True)
class NotReady:
    """Why a server or a version is not ready.

    ``health`` is ``failed``, ``loading``, ``draining`` or, for a server without models, ``empty``.
    """

    health: str
    reason: str


class Readiness:
    """Answers for one process whether its models are ready, by the version table of the moment.

    ``not_ready_reason`` is why nothing is loaded, and is ignored once something is; ``stuck_reason`` is which
    run cannot be ended, empty if none is;
    ``catalog_unreachable_since`` is a Unix time, None while the catalog answers, and ``catalog_answered_at``
    that of the last turn of the follower that the catalog answered, 0 for none.
    """

    def __init__(self, current_table: Callable[[], VersionTable]) -> None:
        self._current_table = current_table
        self.not_ready_reason = ""
        self.stuck_reason = ""
        self.catalog_unreachable_since: float | None = None
        self.catalog_answered_at = 0.0

    def deciding(self) -> list[ServedVersion]:
        """List the versions whose states decide whether this server is ready."""
        return self._current_table().deciding()

    def obstacle(self) -> NotReady | None:
        """Return why this server is not ready, or None if there are models and all of them answer."""
        table = self._current_table()
        # Nothing has failed, but nothing could answer either.
        if not table.models:
            return NotReady("empty", nothing_loaded(self.not_ready_reason))
        if self.stuck_reason:
            return NotReady("failed", self.stuck_reason)
        return obstacle_among(table.deciding())

    def is_ready(self) -> bool:
        """Return whether there are models, and all of them answer."""
        return self.obstacle() is None

    def require(self) -> None:
        """Raise `ModelNotReady`, with the reason, unless this server is ready."""
        obstacle = self.obstacle()
        if obstacle is not None:
            raise ModelNotReady(obstacle.reason)


def obstacle_among(versions: Sequence[ServedVersion]) -> NotReady | None:
    """Return why not all `versions` are ready, by the worst of their states; None if all are."""
    for state, health in _HEALTH_BY_STATE.items():
        for version in versions:
            if version.state is state:
                return NotReady(health, version.reason or f"`{version.label}` is {state.word}")
    return None
