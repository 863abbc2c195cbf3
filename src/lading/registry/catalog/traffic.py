"""The contract of a catalog's rows about live traffic: windows, and feedback on its way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lading.registry.catalog.monitoring import Span
    from lading.registry.records import Removed
    from lading.traffic import Feedback, Labels, Window


class TrafficCatalog(Protocol):
    """Windows of live traffic, and feedback on its way to the process that gave the answer."""

    def add_windows(self, windows: Sequence[Window]) -> None:
        """Add windows; one whose id exists already stays as it is."""

    def windows(self, name: str, release: int, since: float | None) -> list[Window]:
        """Return the windows of a release that began at the Unix time `since` or later, oldest first."""

    def labels(self, name: str, releases: Sequence[int], spans: Sequence[Span]) -> list[Labels]:
        """Return the labels in windows of these releases that began within one of the spans, oldest first."""

    def add_feedback(self, feedback: Sequence[Feedback], *, kept_s: float) -> int:
        """Pass on as much feedback as has room, and return how many; drop what is older than that."""

    def feedback(self, after: int | None) -> tuple[int, list[Feedback]]:
        """Return the mark to ask with next time, and the feedback that came after the last one."""

    def prune(self, older_than_s: float, *, dry_run: bool, feedback_kept_s: float) -> list[Removed]:
        """Remove windows of ended releases that are older than that, and feedback that is older."""
