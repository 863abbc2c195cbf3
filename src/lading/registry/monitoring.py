"""The monitoring of a registry's models: windows of columns, baselines, and alarms. Concludes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lading.alarms import Alarm, Baseline
    from lading.profile import Profile
    from lading.profile.live import ColumnWindow
    from lading.registry.catalog import Catalog
    from lading.registry.catalog.monitoring import AlarmQuery, Span, StateKind
    from lading.registry.records import Removed

# As long as a season of weeks, four times: what a window is compared with may be a month old.
_KEPT_DAYS = 35.0
_MOST_ALARMS = 1000


class Monitoring:
    """What is known of live columns in a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows = catalog.monitoring

    def add_windows(self, windows: Sequence[ColumnWindow]) -> None:
        """Store windows of columns. The same window again, as after an outage, counts once."""
        self._rows.add_column_windows(windows)

    def windows(self, name: str, since: float = 0.0, until: float | None = None) -> list[ColumnWindow]:
        """Return the windows of a model that began at the Unix time `since` or later, before `until`."""
        return self._rows.column_windows(name, since, until)

    def newest_window(self, name: str, since: float, until: float) -> tuple[int, ColumnWindow | None]:
        """Return how many windows of a model began in a period, and that which began last."""
        return self._rows.newest_window(name, since, until)

    def windows_within(self, name: str, spans: Sequence[Span]) -> list[ColumnWindow]:
        """Return the windows of a model that began within one of the spans of time, oldest first."""
        return self._rows.windows_within(name, spans)

    def windows_after(self, mark: int, limit: int = 1000) -> tuple[int, list[ColumnWindow]]:
        """Return the mark to pass next time, and windows of all models that came after `mark`; begin at 0."""
        return self._rows.windows_after(mark, limit)

    def watched(self) -> list[str]:
        """Return the names of the models that have windows."""
        return self._rows.watched()

    def add_profile(self, digest: str, profile: bytes) -> None:
        """Store a profile, as `lading.profile.encoding` writes it, by its digest."""
        self._rows.add_profile(digest, profile.decode())

    def profile(self, digest: str) -> Profile | None:
        """Return the profile that windows were counted by, or None if no server has stored it."""
        # Imported here: with it comes numpy, which listing models does without.
        from lading.profile.encoding import decode

        body = self._rows.profile(digest)
        return decode(body.encode()) if body is not None else None

    def set_baseline(self, baseline: Baseline) -> None:
        """Compare a model with another reference than the profiles of its bundles."""
        self._rows.set_baseline(baseline)

    def remove_baseline(self, name: str) -> bool:
        """Go back to the profiles of the bundles; return whether there was a baseline."""
        return self._rows.remove_baseline(name)

    def baseline(self, name: str) -> Baseline | None:
        """Return the baseline of a model, or None if its bundles' profiles are the reference."""
        return next((baseline for baseline in self._rows.baselines() if baseline.name == name), None)

    def baselines(self) -> list[Baseline]:
        """Return all baselines, by name."""
        return self._rows.baselines()

    def states(self, kind: StateKind) -> dict[str, str]:
        """Return the JSON of the tests, or of the alerts, that are under way, by key."""
        return self._rows.states(kind)

    def state(self, kind: StateKind, key: str) -> str | None:
        """Return the JSON of one test or alert that is under way, or None if it is not."""
        return self._rows.state(kind, key)

    def save(
        self,
        kind: StateKind,
        changed: Mapping[str, str],
        removed: Sequence[str] = (),
        alarms: Sequence[Alarm] = (),
    ) -> None:
        """Store states and alarms together: none of them without the others."""
        if changed or removed or alarms:
            self._rows.save(kind, changed, removed, alarms)

    def alarms(
        self, name: str | None = None, *, open_only: bool = False, limit: int = _MOST_ALARMS
    ) -> list[Alarm]:
        """Return alarms of one model or of all, those that were raised last first."""
        return self._rows.alarms(name, open_only=open_only, limit=limit)

    def alarm_page(self, asked: AlarmQuery, limit: int) -> list[Alarm]:
        """Return at most `limit` of the alarms that are asked for, those that were raised last first."""
        return self._rows.alarm_page(asked, limit)

    def prune(self, *, dry_run: bool) -> list[Removed]:
        """Remove old windows, and alarms that ended long ago."""
        return self._rows.prune(_KEPT_DAYS * 86400, dry_run=dry_run)
