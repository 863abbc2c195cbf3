"""What the catalog knows of a model's live columns, as one `ModelStatus`. Tests nothing: the driver has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.monitor.discoveries import ALPHA
from lading.monitor.distances import jensen_shannon, psi
from lading.monitor.driver import LEASE
from lading.monitor.metrics import metrics_of
from lading.monitor.series import SeriesState, is_tested, read_state
from lading.monitor.slice_tests import key_of, read_tests
from lading.monitor.status import CheckCount, ColumnPoint, ColumnStatus, ModelStatus
from lading.monitor.wording import describe
from lading.profile import MISSING, ColumnProfile, Profile
from lading.profile.live import ColumnWindow, merged

if TYPE_CHECKING:
    from lading.registry import Registry

# Half-hours of a day: few enough that each has rows, and enough to see when something began.
_PARTS = 48
_LEAST_ROWS = 100
"""Fewer rows are no share to speak of: what differs in words is said of more."""

_NOTHING_COUNTED = (
    "no row was counted in this period: no server that has this registry answered for the model, it runs "
    "with `--drift off`, or its bundle has no profile (packed by an older lading, or with `--no-profile`)"
)

SOURCES = {"reference": "reference data", "samples": "golden samples", "log": "logged requests"}


@dataclass(frozen=True)
class _Period:
    since: float
    until: float

    def parts(self) -> Iterator[tuple[float, float]]:
        length = (self.until - self.since) / _PARTS
        for part in range(_PARTS):
            yield self.since + part * length, length


def snapshot(
    registry: Registry, name: str, since: float, until: float, *, version: int | None = None
) -> ModelStatus:
    """Return what is known of a model between two Unix times: of `version`, else of the one seen last.

    Raises `ModelNotFound`, `VersionNotFound`.
    """
    registry.versions(name)  # Raises for a name that nobody has pushed.
    windows = registry.monitoring.windows(name, since, until)
    # Windows of other versions have other references: they are never added up.
    if version is not None:
        windows = [window for window in windows if window.version == version]
    if not windows:
        return _nothing(registry, name, since, until, version)
    # A model may have been counted by two profiles, before and after a baseline was set.
    # Cells of one are not those of the other, so that only windows of the newest count.
    newest = windows[-1]  # By when it began: the version that answered last.
    ours = [each for each in windows if (each.digest, each.profile) == (newest.digest, newest.profile)]
    profile = registry.monitoring.profile(newest.profile)
    assert profile is not None  # Stored before the first window that names it.
    state = _state(registry, newest)
    # An alarm that ended before the period says nothing about it.
    alarms = [
        alarm
        for alarm in registry.monitoring.alarms(name)
        if alarm.digest == newest.digest and (alarm.is_open or alarm.ended_at >= since)
    ]
    columns = tuple(_columns(profile, ours, state, _Period(since, until)))
    metrics, unknown = metrics_of(registry, name, newest.digest, profile, ours, (since, until))
    return ModelStatus(
        name=name,
        version=newest.version,
        digest=newest.digest,
        release=max(window.release for window in ours),
        owner=_owner(registry, name, newest.version),
        since=since,
        until=until,
        reference=SOURCES[profile.source],
        reference_rows=profile.rows,
        rows=sum(window.rows for window in ours),
        seen=sum(window.seen for window in ours),
        replicas=tuple(sorted({window.replica for window in ours})),
        alpha=ALPHA,
        columns=columns,
        metrics=metrics,
        checks=_checks(ours),
        alarms=tuple(alarms),
        unknown=(
            *_unknown(registry, profile, state),
            *unknown,
            *_unread_slices(registry, name, newest.digest),
        ),
    )


def _checks(windows: Sequence[ColumnWindow]) -> tuple[CheckCount, ...]:
    """Return how often each input check failed, the most frequent first."""
    failures: Counter[tuple[str, str]] = Counter()
    for window in windows:
        for column, rule, count in window.failures:
            failures[column, rule] += count
    return tuple(
        CheckCount(column=column, rule=rule, failures=count)
        for (column, rule), count in failures.most_common()
    )


def _state(registry: Registry, window: ColumnWindow) -> SeriesState | None:
    # The driver keeps a state for each pair of version and profile, under the same key.
    key = SeriesState(window.name, window.version, window.digest, window.profile).key
    body = registry.monitoring.states("monitor").get(key)
    return read_state(body) if body is not None else None


def _unread_slices(registry: Registry, name: str, digest: str) -> Iterator[str]:
    """Return why the slices of a version are not tested, if they are not."""
    body = registry.monitoring.states("monitor").get(key_of(name, digest))
    tests = read_tests(body) if body is not None else None
    if tests is not None and tests.unread:
        yield f"decay by slice is not tested: {tests.unread}"


def _owner(registry: Registry, name: str, version: int) -> str:
    return next((each.owner for each in registry.versions(name) if each.version == version), "")


def _nothing(registry: Registry, name: str, since: float, until: float, version: int | None) -> ModelStatus:
    """Return the status of a model of which nothing was counted in the period."""
    return ModelStatus(
        name=name,
        version=version or 0,
        digest="",
        release=0,
        owner="",
        since=since,
        until=until,
        reference="",
        reference_rows=0,
        rows=0,
        seen=0,
        replicas=(),
        alpha=ALPHA,
        alarms=tuple(alarm for alarm in registry.monitoring.alarms(name) if alarm.is_open),
        unknown=(_NOTHING_COUNTED,),
    )


def _unknown(registry: Registry, profile: Profile, state: SeriesState | None) -> Iterator[str]:
    """Return what cannot be said of columns, and why."""
    if registry.fleet.lease_holder(LEASE) is None:
        # Without a test nothing alarms, which must not be read as nothing being wrong.
        yield "no process tests the columns now: `lading monitor run`, or a server that has this registry"
    elif state is None or not state.tests:
        yield "no column has been tested yet: the first test comes two minutes after the first request"
    if profile.source == "samples":
        yield (
            f"the reference is only {profile.rows} golden samples: "
            "pack with `--reference` to compare with the training data"
        )


def _columns(
    profile: Profile, windows: Sequence[ColumnWindow], state: SeriesState | None, period: _Period
) -> Iterator[ColumnStatus]:
    totals = merged(windows)
    parts = list(_by_part(windows, period))
    # A profile lists its inputs first, and outputs after them.
    of_inputs = len(profile.inputs)
    for at, (column, live) in enumerate(zip(profile.columns(), totals, strict=True)):
        test = state.tests.get(column.name) if state is not None else None
        alarm = state.alarms.get(column.name) if state is not None else None
        rows = sum(live)
        yield ColumnStatus(
            name=column.name,
            tensor=column.tensor,
            kind=column.kind,
            is_output=at >= of_inputs,
            cells=tuple(column.label(cell) for cell in range(len(column.counts))),
            bounds=column.bounds,
            reference=column.counts,
            live=tuple(live),
            rows=rows,
            minimum=column.minimum,
            maximum=column.maximum,
            psi=psi(column.counts, live) if rows else None,
            jensen_shannon=jensen_shannon(column.counts, live) if rows else None,
            log_e=test.log_e if test is not None else None,
            began_at=alarm.began_at if alarm is not None else None,
            is_alarming=alarm is not None,
            is_tested=is_tested(column),
            change=describe(column, live) if alarm is not None and rows >= _LEAST_ROWS else "",
            history=tuple(_history(column, at, parts)),
        )


_Part = tuple[float, float, list[list[int]]]
"""When a part of the period begins, its seconds, and the counts by column."""


def _by_part(windows: Sequence[ColumnWindow], period: _Period) -> Iterator[_Part]:
    """Return the parts of the period that have windows, with their counts."""
    for at, seconds in period.parts():
        # A window counts where it began, whole: it is short beside a part of the period.
        within = [window for window in windows if at <= window.at < at + seconds]
        if within:
            yield at, seconds, merged(within)


def _history(column: ColumnProfile, number: int, parts: Sequence[_Part]) -> Iterator[ColumnPoint]:
    for at, seconds, counts in parts:
        live = counts[number]
        rows = sum(live)
        if rows:
            yield ColumnPoint(
                at=at,
                seconds=seconds,
                rows=rows,
                psi=psi(column.counts, live),
                missing_share=live[MISSING] / rows,
            )
