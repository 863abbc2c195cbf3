"""The contract of a catalog's rows about runs over data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from lading.runs import RunKind, RunState

if TYPE_CHECKING:
    from lading.registry.records import Removed
    from lading.runs import Run


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are asked for; what is None is any.

    ``before`` is the place of a run, when it began and its id: only those behind it are returned.
    """

    name: str | None = None
    kind: RunKind | None = None
    state: RunState | None = None
    before: tuple[float, str] | None = None


class RunCatalog(Protocol):
    """Runs, by their ids."""

    def save(self, run: Run) -> None:
        """Store a run, or what has become of it since; it reports now, and ends now unless it runs."""

    def find(self, run_id: str) -> Run | None:
        """Return a run, or None without one; ``lost`` if it ought to run but has long been silent."""

    def page(self, asked: RunQuery, limit: int) -> list[Run]:
        """Return at most `limit` runs that began before a place, last begun first."""

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove runs that last reported longer ago than that."""
