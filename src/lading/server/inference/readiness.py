"""Whether this server is ready, and why not: decided here once, for every protocol to write in its own form.

Loading states what only it can know; the states of the versions are read when somebody asks. Loads nothing
and knows no status code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lading.errors import ModelNotReady
from lading.server.inference.version import ServedVersion, State
from lading.server.inference.version_table import VersionTable, nothing_loaded

# A catalog that has not answered for so long is shown as slow; it usually takes milliseconds.
SLOW_AFTER_S = 3.0
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
    run cannot be ended, empty if none is; ``not_listening_reason`` is which port does not answer and why.
    ``catalog_unreachable_since`` and ``catalog_asked_since`` are monotonic times, None while the catalog
    answers and while it is not asked; ``catalog_answered_at`` is the Unix time of the last turn of the
    follower that it answered, 0 for none.
    """

    def __init__(self, current_table: Callable[[], VersionTable]) -> None:
        self._current_table = current_table
        self.not_ready_reason = ""
        self.stuck_reason = ""
        self.not_listening_reason = ""
        self.catalog_unreachable_since: float | None = None
        self.catalog_asked_since: float | None = None
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
        if self.not_listening_reason or self.stuck_reason:
            return NotReady("failed", self.not_listening_reason or self.stuck_reason)
        return obstacle_among(table.deciding())

    def is_ready(self) -> bool:
        """Return whether there are models, and all of them answer."""
        return self.obstacle() is None

    def catalog_waiting_s(self) -> float:
        """Return for how long the catalog has not answered what it is asked; 0 while nothing is asked."""
        asked_since = self.catalog_asked_since
        return 0.0 if asked_since is None else time.monotonic() - asked_since

    def catalog_trouble(self) -> str:
        """Return in words that the catalog is unreachable or slow, and since when; empty if it answers."""
        unreachable_since, waiting_s = self.catalog_unreachable_since, self.catalog_waiting_s()
        if unreachable_since is not None:
            return f"unreachable for {time.monotonic() - unreachable_since:.0f} s"
        return f"slow: no answer for {waiting_s:.0f} s" if waiting_s > SLOW_AFTER_S else ""

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
