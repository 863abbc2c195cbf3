"""The contract of a catalog's rows about monitoring: windows of columns, baselines, tests, alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from lading.alarms import AlarmKind

if TYPE_CHECKING:
    from lading.alarms import Alarm, Baseline
    from lading.profile.live import ColumnWindow
    from lading.registry.records import Removed

StateKind = Literal["monitor", "alerts"]

Span = tuple[float, float]
"""When a part of a period begins, and when it ends; that moment is not in it. Unix times."""


class AlarmQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which alarms are asked for; what is None is any.

    ``before`` is the place of an alarm, when it was raised and its id: only those behind it are returned.
    """

    name: str | None = None
    kind: AlarmKind | None = None
    is_open: bool | None = None
    before: tuple[float, str] | None = None


class MonitoringCatalog(Protocol):
    """Windows of columns, the baselines that they are compared with, and what was concluded."""

    def add_column_windows(self, windows: Sequence[ColumnWindow]) -> None:
        """Add windows; one whose id exists already stays as it is."""

    def column_windows(self, name: str, since: float, until: float | None) -> list[ColumnWindow]:
        """Return the windows of a model that began at `since` or later and before `until`, oldest first."""

    def newest_window(self, name: str, since: float, until: float) -> tuple[int, ColumnWindow | None]:
        """Return how many windows began in a period, and that which began last."""

    def windows_within(self, name: str, spans: Sequence[Span]) -> list[ColumnWindow]:
        """Return the windows of a model that began within one of the spans, oldest first."""

    def windows_after(self, mark: int, limit: int) -> tuple[int, list[ColumnWindow]]:
        """Return the next mark, and at most `limit` windows of all models that came after `mark`."""

    def watched(self) -> list[str]:
        """Return the names of the models that have windows."""

    def add_profile(self, digest: str, body: str) -> None:
        """Store the JSON of a profile by its digest; one that exists stays as it is."""

    def profile(self, digest: str) -> str | None:
        """Return the JSON of a profile, or None if no server has counted by it."""

    def set_baseline(self, baseline: Baseline) -> None:
        """Replace the reference of a model."""

    def remove_baseline(self, name: str) -> bool:
        """Go back to the profiles of the bundles; return whether there was a baseline."""

    def baselines(self) -> list[Baseline]:
        """Return all baselines, by name."""

    def states(self, kind: StateKind) -> dict[str, str]:
        """Return the JSON of what is under way, by key."""

    def state(self, kind: StateKind, key: str) -> str | None:
        """Return the JSON of one state, or None if nothing is under way there."""

    def save(
        self, kind: StateKind, changed: Mapping[str, str], removed: Sequence[str], alarms: Sequence[Alarm]
    ) -> None:
        """Store states and alarms, and remove states, together; an alarm replaces that of its id."""

    def alarms(self, name: str | None, *, open_only: bool, limit: int) -> list[Alarm]:
        """Return alarms of one model or of all, those that were raised last first."""

    def alarm_page(self, asked: AlarmQuery, limit: int) -> list[Alarm]:
        """Return at most `limit` alarms that were raised before a place, last raised first."""

    def prune(self, older_than_s: float, *, dry_run: bool) -> list[Removed]:
        """Remove windows and ended alarms that are older than that."""
