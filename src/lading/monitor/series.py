"""The tests of one version's columns over time: windows in, alarms out. Reads no catalog and no clock.

Windows of all replicas are added up by slots of a minute. A slot is tested once, when no more windows of it
are expected; one that comes later counts in the next. A series is plain data: stored and resumed, it goes on
as if it had not been.
"""

from __future__ import annotations

import math
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from lading.alarms import Alarm, AlarmKind
from lading.monitor.discoveries import alarm_of
from lading.monitor.distances import expected_psi, psi
from lading.monitor.drift import ColumnReference, DriftState, advance, restart
from lading.monitor.run_tests import alarming, evidence_of_run
from lading.monitor.slices import SliceState
from lading.monitor.slices import advance as advance_slices
from lading.monitor.wording import describe, describe_decay, percent
from lading.profile import ColumnProfile, Profile
from lading.profile.live import BATCH_RUN, ColumnWindow

SLOT_S = 60.0
GRACE_S = 45.0
"""How long a slot waits for windows after its end: they last half a minute, and travel for seconds."""

# An hour of rows is enough to see that a change is over, and soon forgets it.
_RECENT_S = 3600.0
# Half of what is usually called a small change, and of rows enough that noise stays below it.
_CALM_PSI = 0.05
_CALM_ROWS = 500

ALL_ROWS = ""
"""The slice of all rows."""

# Keys of alarms that are not those of a column over time; no column's name begins with a blank.
_ACCURACY, _CHECK, _RUN = " accuracy", " check ", " run "

_FAILED_SHARE = 0.01
_FAILED_ROWS = 20
"""A rule of the profile is failed by one good row in a thousand or fewer: so many are not chance."""

Counts = list[list[int]]
"""Rows by column and cell."""

SameHours = Callable[[float], "Counts | None"]
"""Returns the counts of the hours that a Unix time is compared with, or None while they are too few."""


class Slot(msgspec.Struct):
    """Windows that began within one slot, added up; ``at`` is when it begins."""

    at: float
    counts: Counts
    rows: int = 0
    release: int = 0
    checked: int = 0
    failures: dict[str, int] = {}


class SeriesState(msgspec.Struct):
    """Everything that a series must remember, as JSON.

    ``tests``, ``recent`` (rows by cell of about the last hour) and ``alarms`` are by the name of the column.
    ``runs`` is how many batch runs were tested, each by itself.
    ``tested_until`` is the end of the last slot that was tested, 0 before the first. ``labels`` is the test
    of accuracy by the labels that came until ``labels_until``. ``checked`` and ``failed`` are the
    rows of about the last hour that input checks looked at, and that failed them, by column and rule.
    """

    name: str
    version: int
    digest: str
    profile: str
    release: int = 0
    tested_until: float = 0.0
    last_at: float = 0.0
    tests: dict[str, DriftState] = {}
    recent: dict[str, list[float]] = {}
    alarms: dict[str, Alarm] = {}
    labels: SliceState = SliceState()
    labels_until: float = 0.0
    checked: float = 0.0
    failed: dict[str, float] = {}
    runs: int = 0
    pending: dict[str, Slot] = {}

    @property
    def key(self) -> str:
        """Return what identifies the series: a version by its digest, and what it is compared with."""
        return f"{self.name}/{self.digest[-16:]}/{self.profile[-16:]}"


def read_state(body: str) -> SeriesState | None:
    """Return a stored state, or None if another version of lading has written it in another form."""
    try:
        return msgspec.json.decode(body, type=SeriesState)
    except msgspec.ValidationError:
        return None


class Series:
    """The tests of one version of a model against one profile. `alpha` is the share of false alarms."""

    def __init__(
        self, state: SeriesState, profile: Profile, *, alpha: float, slot_s: float, grace_s: float
    ) -> None:
        self.state = state
        self.profile = profile
        self._alpha = alpha
        self._slot_s = slot_s
        self._grace_s = grace_s
        self._columns = list(profile.columns())
        self._references = [ColumnReference.of(column) for column in self._columns]
        self._of_runs: list[Alarm] = []  # Alarms that changed by runs, which the next test returns.

    def add(self, window: ColumnWindow) -> None:
        """Add a window; it must be new. A batch run is tested at once: no other window belongs to it."""
        state = self.state
        if window.replica == BATCH_RUN:
            self._of_runs.extend(self._test_run(window))
        at = math.floor(window.at / self._slot_s) * self._slot_s
        # A slot is tested once: a late window counts in the next, which loses no row.
        at = max(at, state.tested_until)
        slot = state.pending.get(str(at))
        if slot is None:
            empty = [[0] * len(column.counts) for column in self._columns]
            slot = state.pending[str(at)] = Slot(at, empty)
        for total, counts in zip(slot.counts, window.counts, strict=True):
            for cell, count in enumerate(counts):
                total[cell] += count
        slot.rows += window.rows
        slot.release = max(slot.release, window.release)
        slot.checked += window.checked
        for column, rule, count in window.failures:
            name = f"{column}: {rule}"
            slot.failures[name] = slot.failures.get(name, 0) + count
        state.last_at = max(state.last_at, window.at + window.seconds)

    def test(self, now: float, same_hours: SameHours | None = None) -> list[Alarm]:
        """Test the slots that are complete at the Unix time `now`; return the alarms that changed.

        `same_hours` returns the counts of the same hours of former weeks, with which a slot is compared then.
        """
        due = [
            slot
            for slot in sorted(self.state.pending.values(), key=lambda slot: slot.at)
            if slot.at + self._slot_s + self._grace_s <= now
        ]
        of_runs, self._of_runs = self._of_runs, []
        return [*of_runs, *(alarm for slot in due for alarm in self._test(slot, same_hours))]

    def _test_run(self, window: ColumnWindow) -> Iterator[Alarm]:
        """Test the rows of one batch run; raise the alarms of its columns, or end those of a former run."""
        self.state.runs += 1
        # The same window is tested alike by whichever process reads it.
        draw = np.random.default_rng(zlib.crc32(window.id.encode()))
        columns = [
            each
            for each in zip(self._columns, self._references, window.counts, strict=True)
            if is_tested(each[0])
        ]
        evidence = {column.name: evidence_of_run(known, counts, draw) for column, known, counts in columns}
        certain = alarming(evidence, self.state.runs, self._alpha)
        for column, _, counts in columns:
            yield from self._after_run(column, counts, window, is_certain=column.name in certain)

    def _after_run(
        self, column: ColumnProfile, counts: Sequence[int], window: ColumnWindow, *, is_certain: bool
    ) -> Iterator[Alarm]:
        """Raise or end the alarm of one column by the rows of a run; yield it if it changed."""
        alarms, key, ended_at = self.state.alarms, f"{_RUN}{column.name}", window.at + window.seconds
        distance, rows = psi(column.counts, counts), sum(counts)
        if is_certain and key not in alarms and column.name not in alarms:
            text = f"`{column.name}` {describe(column, counts)}, in a batch run of {window.seen:,} rows"
            alarm = self._alarm("drift", column.name, window.at, ended_at)
            alarms[key] = msgspec.structs.replace(alarm, value=distance, text=text)
            yield alarms[key]
        # It lasts until a run has shown the contrary: no hours go by between the rows of two runs.
        elif key in alarms and rows and distance < _CALM_PSI + expected_psi(column.counts, rows):
            yield msgspec.structs.replace(alarms.pop(key), ended_at=ended_at)

    def _test(self, slot: Slot, same_hours: SameHours | None) -> Iterator[Alarm]:
        state = self.state
        former = same_hours(slot.at) if same_hours is not None else None
        del state.pending[str(slot.at)]
        state.tested_until, state.release = slot.at + self._slot_s, max(state.release, slot.release)
        columns = zip(self._columns, self._references, slot.counts, strict=True)
        for at, (column, reference, counts) in enumerate(columns):
            if not is_tested(column):
                continue
            # The test begins with the first slot that has the column, and not with the version.
            test = state.tests.get(column.name) or DriftState.start(reference, self._slot_s)
            # The first two weeks of a season are only watched.
            state.tests[column.name] = (
                test
                if same_hours is not None and former is None
                else advance(
                    test,
                    reference,
                    counts,
                    at=slot.at,
                    seconds=self._slot_s,
                    same_hours=former[at] if former is not None else None,
                )
            )
            recent = state.recent.get(column.name) or [0.0] * len(counts)
            # Counts fade exponentially, so that the last hour needs no list of its windows.
            kept = math.exp(-self._slot_s / _RECENT_S)
            recent = [kept * before + new for before, new in zip(recent, counts, strict=True)]
            state.recent[column.name] = recent
            alarm = state.alarms.get(column.name)
            if alarm is not None and self._is_calm(column, alarm, recent, slot):
                yield self._end(alarm, slot)
        # All columns are asked together: the share of false alarms is that of the whole model.
        for name in alarm_of(state.tests, self._alpha):
            # What a run has shown already is said once.
            if name not in state.alarms and f"{_RUN}{name}" not in state.alarms:
                yield self._raise(name, slot)
        yield from self._test_checks(slot)

    def _raise(self, name: str, slot: Slot) -> Alarm:
        """Return the alarm of a column whose test has just become certain; `explain` adds the words."""
        test = self.state.tests[name]
        # A test knows since when its evidence grew; that is earlier than the moment of certainty.
        began_at = test.began_at if test.began_at is not None else slot.at
        alarm = self._alarm("drift", name, began_at, slot.at + self._slot_s)
        self.state.alarms[name] = alarm
        return alarm

    def _test_checks(self, slot: Slot) -> Iterator[Alarm]:
        """Raise or end the alarms of input checks: their rules already say how seldom a good row fails."""
        state, kept = self.state, math.exp(-self._slot_s / _RECENT_S)
        until = slot.at + self._slot_s
        # About the last hour counts: a burst is an alarm, a failure now and then is not.
        state.checked = kept * state.checked + slot.checked
        for name in state.failed.keys() | slot.failures.keys():
            state.failed[name] = kept * state.failed.get(name, 0.0) + slot.failures.get(name, 0)
        for name, failed in list(state.failed.items()):
            share, key = failed / max(1.0, state.checked), f"{_CHECK}{name}"
            alarm = state.alarms.get(key)
            if alarm is None and failed >= _FAILED_ROWS and share > _FAILED_SHARE:
                alarm = self._alarm("input-checks", name, slot.at, until)
                text = f"`{name}`: {percent(share)} of the rows fail this input check"
                state.alarms[key] = msgspec.structs.replace(alarm, value=share, text=text)
                yield state.alarms[key]
            elif alarm is not None and share < _FAILED_SHARE / 2:
                del state.alarms[key]
                yield msgspec.structs.replace(alarm, ended_at=until)
            if failed < 0.5 and key not in state.alarms:
                del state.failed[name]

    def test_labels(self, wrong: int, right: int, until: float) -> list[Alarm]:
        """Test accuracy by the labels that came since the last time; return its alarm if it is new."""
        state = self.state
        # The first turn only notes the time: labels of before it belong to no known span.
        since, state.labels_until = state.labels_until, until
        if not since or not wrong + right:
            return []
        profile = self.profile
        known = {ALL_ROWS: (profile.labelled - profile.right, profile.right)}
        # One that has not begun is left out: it would take its first live labels for the reference.
        begun = {ALL_ROWS: state.labels} if state.labels != SliceState() else {}
        tested = advance_slices(begun, {ALL_ROWS: (wrong, right)}, since, until - since, known)
        state.labels = tested[ALL_ROWS]
        test = state.labels.test
        if test is None or test.log_e < -math.log(self._alpha) or _ACCURACY in state.alarms:
            return []
        accuracy = test.accuracy or 0.0
        alarm = self._alarm("decay", "", test.began_at or since, until)
        text = describe_decay(test.reference_accuracy, accuracy)
        alarm = msgspec.structs.replace(alarm, value=accuracy, text=text)
        state.alarms[_ACCURACY] = alarm
        return [alarm]

    def _alarm(self, kind: AlarmKind, subject: str, began_at: float, raised_at: float) -> Alarm:
        state = self.state
        return Alarm(
            id=secrets.token_hex(8),
            name=state.name,
            version=state.version,
            digest=state.digest,
            release=state.release,
            kind=kind,
            subject=subject,
            began_at=began_at,
            raised_at=raised_at,
            value=0.0,
            text="",
        )

    def explain(self, alarm: Alarm, windows: Sequence[ColumnWindow]) -> Alarm:
        """Return `alarm` with what changed in words, by the `windows` of its column since it began."""
        names = [column.name for column in self._columns]
        at = names.index(alarm.subject)
        column = self._columns[at]
        # The counts of the whole change, not of the last slot, so that the sentence names what lasted.
        live = [0] * len(column.counts)
        for window in windows:
            # The catalog's windows are of all versions; another reference has other cells.
            if window.profile == self.state.profile and window.digest == self.state.digest:
                for cell, count in enumerate(window.counts[at]):
                    live[cell] += count
        text = f"`{column.name}` {describe(column, live)}"
        explained = msgspec.structs.replace(alarm, value=psi(column.counts, live), text=text)
        self.state.alarms[alarm.subject] = explained
        return explained

    def _is_calm(self, column: ColumnProfile, alarm: Alarm, recent: Sequence[float], slot: Slot) -> bool:
        """Return whether a column has been as the reference again for long enough to say so."""
        lasted_s = slot.at + self._slot_s - alarm.raised_at
        # Long enough for what changed to have left the counts of the last hour.
        if lasted_s < 2 * _RECENT_S or sum(recent) < _CALM_ROWS:
            return False
        # The test itself only gathers evidence against the reference, and never says that all is well.
        return psi(column.counts, recent) < _CALM_PSI

    def _end(self, alarm: Alarm, slot: Slot) -> Alarm:
        """Return `alarm`, ended; its evidence is spent, and only a new change raises another."""
        del self.state.alarms[alarm.subject]
        at = [column.name for column in self._columns].index(alarm.subject)
        tests = self.state.tests
        # Otherwise the evidence of the old change would raise the alarm again at once.
        tests[alarm.subject] = restart(tests[alarm.subject], self._references[at])
        return msgspec.structs.replace(alarm, ended_at=slot.at + self._slot_s)

    def close(self, now: float) -> list[Alarm]:
        """Return the open alarms, ended at `now`: nothing comes of this version any more."""
        # An alarm about a version that answers no more would stay open for ever.
        ended = [msgspec.structs.replace(alarm, ended_at=now) for alarm in self.state.alarms.values()]
        self.state.alarms = {}
        return ended

    def forget(self) -> None:
        """Begin again as a series without rows, but for how many batch runs were tested."""
        state = self.state
        kept = SeriesState(state.name, state.version, state.digest, state.profile)
        self.state = msgspec.structs.replace(
            kept, tested_until=state.tested_until, last_at=state.last_at, runs=state.runs
        )

    def distances(self) -> Mapping[str, float]:
        """Return the population stability index of each column over about the last hour, by name."""
        return {
            column.name: psi(column.counts, recent)
            for column in self._columns
            if sum(recent := self.state.recent.get(column.name, ()))
        }


def is_tested(column: ColumnProfile) -> bool:
    """Return whether a column should stay as it was: times go on, and without rows nothing is known."""
    return column.kind != "timestamp" and column.rows > 0
