"""The monitor's driver: reads windows of columns, tests them, and writes alarms, under a lease.

One process at a time drives. What it has tested is stored with the mark up to which it has read, in one
transaction: a driver that is killed is followed by one that reads the same windows again, once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from lading.errors import RegistryReadOnly, RegistryUnavailable
from lading.monitor.discoveries import ALPHA
from lading.monitor.series import GRACE_S, SLOT_S, Counts, Series, SeriesState, read_state
from lading.monitor.slice_tests import PREFIX as SLICES
from lading.profile.live import merged

if TYPE_CHECKING:
    from lading.alarms import Alarm
    from lading.monitor.alerting import Alerting
    from lading.monitor.slice_watch import SliceWatch
    from lading.profile.live import ColumnWindow
    from lading.registry import Registry

log = logging.getLogger("lading.monitor")

LEASE = "monitor"
LEASE_S = 20.0
INTERVAL_S = 5.0
_MARK = "mark"
_SAVE_EVERY_S = 60.0
_FORGOTTEN_AFTER_S = 7 * 86400.0
# For as long as the registry lists a batch run.
_RUNS_FORGOTTEN_AFTER_S = 400 * 86400.0
_WINDOWS_A_READ = 1000
_EXPLAINED_BY_S = 86400.0
HOUR_S, WEEK_S = 3600.0, 7 * 86400.0

OnTurn = Callable[[bool, Mapping[str, Mapping[str, float]], Mapping[tuple[str, str], int]], None]
"""Called after each turn with whether this process leads, the PSI of columns by model, and how many alarms
are open by model and kind."""


class MonitorDriver:
    """Drives the tests of every model in a registry while it holds the lease. Its time is the catalog's."""

    def __init__(  # noqa: PLR0913 - one keyword per interval, and the clock
        self,
        registry: Registry,
        holder: str,
        *,
        alpha: float = ALPHA,
        slot_s: float = SLOT_S,
        grace_s: float = GRACE_S,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] | None = None,
        report: OnTurn | None = None,
        alerting: Alerting | None = None,
        slices: SliceWatch | None = None,
    ) -> None:
        self._alerting = alerting
        self._slices = slices
        self._registry = registry
        self._holder = holder
        self._alpha = alpha
        self._slot_s = slot_s
        self._grace_s = grace_s
        self._interval_s = interval_s
        self._clock = clock or registry.fleet.now
        self._report = report
        self._leading = False
        self._series: dict[str, Series] = {}
        self._mark = 0
        self._saved_mark = 0
        self._save_due_at = 0.0
        self._seasonal: set[str] = set()
        self._former: dict[str, tuple[float, Counts | None]] = {}  # By series: an hour, and what it had.
        self._unknown: set[str] = set()  # Digests of profiles that the catalog does not have.

    def turn(self) -> list[Alarm]:
        """Read new windows and test what is complete, if this process leads; return alarms that changed.

        One that fails is as if it had not been: the next begins with what is stored, so that an alarm which
        was raised in it, and not stored, is raised again.
        """
        try:
            return self._turn()
        except BaseException:
            self._leading = False
            raise

    def _turn(self) -> list[Alarm]:
        leading = self._registry.fleet.lease(LEASE, self._holder, LEASE_S)
        if leading != self._leading:
            self._leading = leading
            log.info("%s", "watching the models" if leading else "another process watches the models")
            if leading:
                self._load()
        if not leading:
            self._series = {}
            self._alert()
            self._tell()
            return []
        self._read()
        # Read after the windows: what began before is in them, or counts in a later slot.
        now = self._clock()
        changed = [alarm for series in self._series.values() for alarm in self._test(series, now)]
        removed = self._forget(now, changed)
        if self._slices is not None:
            changed += self._slices.turn(now, self._answering())
        if (
            changed
            or removed
            or self._must_save_slices()
            or (self._mark != self._saved_mark and time.monotonic() >= self._save_due_at)
        ):
            self._save(changed, removed)
        self._alert()
        self._tell()
        return changed

    def run(self, stop: threading.Event) -> None:
        """Take turns until `stop` is set; tests wait while the catalog is unreachable.

        Returns at once if the registry is read-only.
        """
        unreachable = False
        while not stop.is_set():
            try:
                self.turn()
                unreachable = False
            except RegistryReadOnly as error:
                log.warning("no model is watched from here: %s", error.message)
                return
            except RegistryUnavailable as error:
                # Once for an outage, and not with every turn.
                if not unreachable:
                    log.warning("catalog unreachable; the monitor waits: %s", error.message)
                unreachable = True
            except Exception:
                # The edge of a thread: without this nothing would be watched any more, and nobody would know.
                log.exception("a turn of the monitor failed; the next one begins with what is stored")
            stop.wait(self._interval_s)
        self._end()

    def _end(self) -> None:
        try:
            if self._alerting is not None:
                self._alerting.close()
            if not self._leading:
                return
            self._save([], [])
            self._registry.fleet.release_lease(LEASE, self._holder)
        except RegistryUnavailable:
            log.info("the lease could not be released; it expires by itself")

    def _load(self) -> None:
        self._read_baselines()
        states = self._registry.monitoring.states("monitor")
        self._mark = self._saved_mark = int(states.pop(_MARK, "0"))
        self._series = {}
        if self._slices is not None:
            self._slices.load(states)
        for key, body in states.items():
            # Another process watches the slices, with a log that it has.
            if key.startswith(SLICES):
                continue
            state = read_state(body)
            if state is not None:
                self._open(state)
            else:
                log.warning("the tests of %s begin again: another version of lading has stored them", key)

    def _read_baselines(self) -> None:
        baselines = self._registry.monitoring.baselines()
        self._seasonal = {baseline.name for baseline in baselines if baseline.same_hours}

    def _open(self, state: SeriesState) -> Series | None:
        profile = self._registry.monitoring.profile(state.profile)
        if profile is None:
            if state.profile not in self._unknown:
                self._unknown.add(state.profile)
                log.error("%s: the profile %s is not in the catalog", state.name, state.profile)
            return None
        series = Series(state, profile, alpha=self._alpha, slot_s=self._slot_s, grace_s=self._grace_s)
        self._series[state.key] = series
        return series

    def _read(self) -> None:
        while True:
            mark, windows = self._registry.monitoring.windows_after(self._mark, _WINDOWS_A_READ)
            for window in windows:
                series = self._series_of(window)
                if series is not None:
                    series.add(window)
            self._mark = mark
            if len(windows) < _WINDOWS_A_READ:
                return

    def _series_of(self, window: ColumnWindow) -> Series | None:
        state = SeriesState(window.name, window.version, window.digest, window.profile)
        return self._series.get(state.key) or self._open(state)

    def _test(self, series: Series, now: float) -> list[Alarm]:
        seasonal = series.state.name in self._seasonal
        same_hours = partial(self._same_hours, series) if seasonal else None
        changed = [*series.test(now, same_hours), *self._test_labels(series, now)]
        return [self._explained(series, alarm) for alarm in changed]

    def _explained(self, series: Series, alarm: Alarm) -> Alarm:
        """Return an alarm that changed with its words, and log it."""
        label = f"{alarm.name}:{alarm.version}"
        # What a batch run shows is all of it, and has its words already.
        if alarm.is_open and alarm.kind == "drift" and not alarm.text:
            since = max(alarm.began_at, alarm.raised_at - _EXPLAINED_BY_S)
            alarm = series.explain(alarm, self._registry.monitoring.windows(alarm.name, since))
        if alarm.is_open:
            log.warning("%s: %s", label, alarm.text)
        else:
            log.info("%s: `%s` is over", label, alarm.subject or alarm.kind)
        return alarm

    def _same_hours(self, series: Series, at: float) -> Counts | None:
        """Return the counts of the same hours of the four weeks before; None if fewer than two have rows."""
        hour, name, digest = at - at % HOUR_S, series.state.name, series.state.profile
        if self._former.get(series.state.key, (0.0, None))[0] != hour:
            weeks = [
                [
                    window
                    for window in self._registry.monitoring.windows(name, begin, begin + HOUR_S)
                    if window.profile == digest
                ]
                for begin in (hour - week * WEEK_S for week in range(1, 5))
            ]
            counted = [windows for windows in weeks if windows]
            former = (
                merged([window for windows in counted for window in windows]) if len(counted) > 1 else None
            )
            self._former[series.state.key] = (hour, former)
        return self._former[series.state.key][1]

    def _test_labels(self, series: Series, now: float) -> list[Alarm]:
        """Test the accuracy of a released version once a slot, by the labels that came for it."""
        state, until = series.state, now - self._grace_s
        if not state.release or until - state.labels_until < self._slot_s:
            return []
        # Labels are counted when they come, however long ago the answer was.
        windows = self._registry.traffic.windows(state.name, state.release, state.labels_until)
        feedback = [
            window.feedback
            for window in windows
            if window.digest == state.digest and state.labels_until <= window.at < until
        ]
        return series.test_labels(
            sum(counts.wrong for counts in feedback), sum(counts.right for counts in feedback), until
        )

    def _forget(self, now: float, changed: list[Alarm]) -> list[str]:
        """Return the keys of series of which nothing came for long; their alarms end.

        Alarms of a version, or against a reference, that another has followed end after an hour.
        """
        newest = {series.state.name: series.state.last_at for series in self._latest()}
        for series in self._series.values():
            last_at = series.state.last_at
            if series.state.alarms and newest[series.state.name] - last_at > HOUR_S:
                changed += series.close(now)
        removed = []
        for key, series in list(self._series.items()):
            quiet_s = now - series.state.last_at
            if quiet_s > _FORGOTTEN_AFTER_S:
                changed += series.close(now)
                series.forget()
                # A run of next month is not the first again, whose part of the level is the largest.
                if not series.state.runs or quiet_s > _RUNS_FORGOTTEN_AFTER_S:
                    del self._series[key]
                    removed.append(key)
        return removed

    def _answering(self) -> list[tuple[str, int]]:
        """Return name and version of what each model was asked last."""
        return [(series.state.name, series.state.version) for series in self._latest()]

    def _must_save_slices(self) -> bool:
        return self._slices is not None and self._slices.must_save

    def _save(self, changed: list[Alarm], removed: list[str]) -> None:
        """Store all tests and the alarms that changed, or none of them."""
        states = {key: msgspec.json.encode(series.state).decode() for key, series in self._series.items()}
        states[_MARK] = str(self._mark)
        if self._slices is not None:
            tests, over = self._slices.unsaved()
            states |= {key: msgspec.json.encode(each).decode() for key, each in tests.items()}
            removed = [*removed, *over]
        self._registry.monitoring.save("monitor", states, removed, changed)
        if self._slices is not None:
            self._slices.saved()
        self._read_baselines()
        self._saved_mark, self._save_due_at = self._mark, time.monotonic() + _SAVE_EVERY_S

    def _alert(self) -> None:
        """Have people notified of what is open now."""
        if self._alerting is not None:
            self._alerting.turn(self._leading)

    def _latest(self) -> list[Series]:
        """Return a series for each model: of several, such as live and candidate, the one asked last."""
        by_time = sorted(self._series.values(), key=lambda series: series.state.last_at)
        return list({series.state.name: series for series in by_time}.values())

    def _tell(self) -> None:
        if self._report is None:
            return  # A process that serves nothing has no page to show it on.
        open_alarms = [alarm for series in self._series.values() for alarm in series.state.alarms.values()]
        # One that does not lead shows nothing: what it knew may be over.
        if self._slices is not None and self._leading:
            open_alarms += self._slices.alarms()
        alarms: Mapping[tuple[str, str], int] = Counter((alarm.name, alarm.kind) for alarm in open_alarms)
        self._report(
            self._leading, {series.state.name: series.distances() for series in self._latest()}, alarms
        )
