"""The live traffic of a registry: windows that servers count, and feedback on its way. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lading.settings import store_settings

if TYPE_CHECKING:
    from lading.registry.catalog import Catalog
    from lading.registry.catalog.monitoring import Span
    from lading.registry.records import Removed
    from lading.traffic import Feedback, Labels, Window

# How long windows of ended releases are kept.
_KEPT_DAYS = 30.0


class Traffic:
    """The windows and the feedback in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows = catalog.traffic

    def add_windows(self, windows: Sequence[Window]) -> None:
        """Store windows of live traffic. The same window again, as after an outage, counts once."""
        self._rows.add_windows(windows)

    def windows(self, name: str, release: int, since: float | None = None) -> list[Window]:
        """Return the windows of a release that began at the Unix time `since` or later, oldest first."""
        return self._rows.windows(name, release, since)

    def labels(self, name: str, releases: Sequence[int], spans: Sequence[Span]) -> list[Labels]:
        """Return the labels that came within one of the spans of time for these releases, oldest first."""
        return self._rows.labels(name, releases, spans)

    def add_feedback(self, feedback: Sequence[Feedback]) -> int:
        """Pass on the truth about answers that other processes gave; return how many of them had room."""
        return self._rows.add_feedback(feedback, kept_s=store_settings().feedback_kept_s)

    def feedback(self, after: int | None) -> tuple[int, list[Feedback]]:
        """Return the mark to pass next time, and the feedback that came after the mark `after`.

        None returns only a mark: begin with it.
        """
        return self._rows.feedback(after)

    def prune(self, *, dry_run: bool) -> list[Removed]:
        """Remove old windows of ended releases, and feedback that nobody took."""
        kept_s = store_settings().feedback_kept_s
        return self._rows.prune(_KEPT_DAYS * 86400, dry_run=dry_run, feedback_kept_s=kept_s)
