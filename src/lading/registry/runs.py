"""The runs over data sets that a registry knows: batch runs, as they report themselves. Runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog
    from lading.registry.catalog.runs import RunQuery
    from lading.registry.records import Removed
    from lading.runs import Run

# As long as somebody may ask by which run last year's numbers were made.
_KEPT_DAYS = 400.0


class Runs:
    """The runs in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows = catalog.runs

    def save(self, run: Run) -> None:
        """Store a run, or what has become of it since, dated by the catalog's clock."""
        self._rows.save(run)

    def find(self, run_id: str) -> Run | None:
        """Return a run, or None without one; ``lost`` if it ought to run but has long been silent."""
        return self._rows.find(run_id)

    def page(self, asked: RunQuery, limit: int = 100) -> list[Run]:
        """Return at most `limit` of the runs that are asked for, last begun first."""
        return self._rows.page(asked, limit)

    def prune(self, *, dry_run: bool) -> list[Removed]:
        """Remove runs that last reported long ago."""
        return self._rows.prune(_KEPT_DAYS * 86400, dry_run=dry_run)
