"""What the catalog knows of a model's live columns, as one `ModelStatus`. Tests nothing: the driver has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lading.monitor.discoveries import ALPHA
from lading.monitor.distances import jensen_shannon, psi
from lading.monitor.driver import LEASE
from lading.monitor.metrics import metrics_of
from lading.monitor.periods import Part, period_parts
from lading.monitor.series import SeriesState, is_tested, read_state
from lading.monitor.slice_tests import key_of, read_tests
from lading.monitor.status import CheckCount, ColumnPoint, ColumnStatus, ModelStatus
from lading.monitor.wording import describe
from lading.profile import MISSING, ColumnProfile, Profile
from lading.profile.live import ColumnWindow, merged

if TYPE_CHECKING:
    from lading.alarms import Alarm
    from lading.registry import Registry

_SLOTS = 144
"""In so many places a period is read of which there is more than can be: three in each part of a chart."""

_MOST_LABELS = 10_000
"""So many windows of traffic are looked at for labels where not all windows are read."""

_GOLDEN = 0.6180339887498949
_LEAST_ROWS = 100
"""Fewer rows are no share to speak of: what differs in words is said of more."""

_NOTHING_COUNTED = (
    "no row was counted in this period: no server that has this registry answered for the model, it runs "
    "with `--drift off`, or its bundle has no profile (packed by an older lading, or with `--no-profile`)"
)

NOT_TESTED = "no process tests the columns now: `lading monitor run`, or a server that has this registry"

SLICES_NOT_TESTED = "decay by slice is not tested: "

SOURCES = {"reference": "reference data", "samples": "golden samples", "log": "logged requests"}


def snapshot(
    registry: Registry, name: str, since: float, until: float, *, version: int | None = None
) -> ModelStatus:
    """Return what is known of a model between two Unix times: of `version`, else of the one seen last.

    Raises `ModelNotFound`, `VersionNotFound`.
    """
    registry.versions.page(name, limit=1)  # Raises for a name that nobody has pushed.
    windows = registry.monitoring.windows(name, since, until)
    # Windows of other versions have other references: they are never added up.
    if version is not None:
        windows = [window for window in windows if window.version == version]
    if not windows:
        return _nothing(registry, name, since, until, version)
    return _status(registry, windows, (since, until), owner=_owner(registry, name, windows[-1].version))


def thinned_snapshot(
    registry: Registry, name: str, since: float, until: float, *, most_counts: int, owner: str
) -> ModelStatus:
    """Return what is known of the version seen last, from windows with about `most_counts` counts at most.

    They are spread evenly over the period, and the status says which share of the windows they are. Of a
    month of two servers that is one in a hundred: charts look alike, and a page can wait for it.
    Asks the catalog eight times, always by an index.
    """
    count, newest = registry.monitoring.newest_window(name, since, until)
    if newest is None:
        return _nothing(registry, name, since, until, None)
    share = most_counts / max(1, sum(map(len, newest.counts))) / count
    # As a rule there are few enough, and then a page says exactly what `lading monitor status` does.
    if share >= 1:
        windows = registry.monitoring.windows(name, since, until)
        return _status(registry, windows, (since, until), owner=owner)
    windows = registry.monitoring.windows_within(name, thinned(since, until, share))
    # The last says which version is seen; what is read of the period may end before it.
    if not windows or windows[-1].id != newest.id:
        windows.append(newest)
    return _status(registry, windows, (since, until), owner=owner, of_windows=count)


def _status(
    registry: Registry,
    windows: Sequence[ColumnWindow],
    period: tuple[float, float],
    *,
    owner: str,
    of_windows: int | None = None,
) -> ModelStatus:
    """Return the status by windows that are all of a period, or some of `of_windows`."""
    since, until = period
    # A model may have been counted by two profiles, before and after a baseline was set.
    # Cells of one are not those of the other, so that only windows of the newest count.
    newest = windows[-1]  # By when it began: the version that answered last.
    ours = [each for each in windows if (each.digest, each.profile) == (newest.digest, newest.profile)]
    profile = registry.monitoring.profile(newest.profile)
    assert profile is not None  # Stored before the first window that names it.
    state = _state(registry, newest)
    parts = period_parts(ours, since, until)
    # Labels are few beside counts: more windows are looked at for them.
    label_share = _MOST_LABELS / of_windows if of_windows is not None else 1.0
    spans = thinned(since, until, label_share) if label_share < 1 else [period]
    metrics, unknown = metrics_of(registry, newest, profile, parts, (since, until), spans)
    return ModelStatus(
        name=newest.name,
        version=newest.version,
        digest=newest.digest,
        release=max(window.release for window in ours),
        owner=owner,
        since=since,
        until=until,
        reference=SOURCES[profile.source],
        reference_rows=profile.rows,
        rows=sum(window.rows for window in ours),
        seen=sum(window.seen for window in ours),
        replicas=tuple(sorted({window.replica for window in ours})),
        alpha=ALPHA,
        columns=tuple(_columns(profile, parts, state)),
        metrics=metrics,
        checks=_checks(ours),
        alarms=_alarms(registry, newest, since),
        unknown=(
            *_unknown(registry, profile, state),
            *unknown,
            *_unread_slices(registry, newest),
        ),
        share_read=len(windows) / of_windows if of_windows is not None else 1.0,
    )


def _alarms(registry: Registry, version: ColumnWindow, since: float) -> tuple[Alarm, ...]:
    """Return the alarms of the version of a window; one that ended before the period says nothing of it."""
    return tuple(
        alarm
        for alarm in registry.monitoring.alarms(version.name)
        if alarm.digest == version.digest and (alarm.is_open or alarm.ended_at >= since)
    )


def thinned(since: float, until: float, share: float) -> list[tuple[float, float]]:
    """Return spans of time that are a share of a period together, spread evenly over it, in their order."""
    length = (until - since) / _SLOTS
    spans = []
    for slot in range(_SLOTS):
        at = since + slot * length
        # At another place within each slot: else all of them would see the same minutes of the hour.
        begin = slot * _GOLDEN % 1.0
        end = begin + share
        # What goes beyond the end of the slot begins again at its start, so that no place is left out.
        if end > 1:
            spans.append((at, at + (end - 1) * length))
        spans.append((at + begin * length, at + min(end, 1.0) * length))
    return spans


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
    body = registry.monitoring.state("monitor", key)
    return read_state(body) if body is not None else None


def _unread_slices(registry: Registry, version: ColumnWindow) -> Iterator[str]:
    """Return why the slices of the version of a window are not tested, if they are not."""
    body = registry.monitoring.state("monitor", key_of(version.name, version.digest))
    tests = read_tests(body) if body is not None else None
    if tests is not None and tests.unread:
        yield f"{SLICES_NOT_TESTED}{tests.unread}"


def _owner(registry: Registry, name: str, version: int) -> str:
    # Of the version below which there is none in between: a single row by its key.
    versions = registry.versions.page(name, below=version + 1, limit=1)
    return versions[0].owner if versions and versions[0].version == version else ""


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
        yield NOT_TESTED
    elif state is None or not state.tests:
        yield "no column has been tested yet: the first test comes two minutes after the first request"
    if profile.source == "samples":
        yield (
            f"the reference is only {profile.rows} golden samples: "
            "pack with `--reference` to compare with the training data"
        )


def _columns(profile: Profile, parts: Sequence[Part], state: SeriesState | None) -> Iterator[ColumnStatus]:
    merges = [merged(part.windows) for part in parts]
    # A profile lists its inputs first, and outputs after them.
    of_inputs = len(profile.inputs)
    for at, column in enumerate(profile.columns()):
        counts = [each[at] for each in merges]
        live = [sum(cells) for cells in zip(*counts, strict=True)]
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
            history=tuple(_history(column, parts, counts)),
        )


def _history(
    column: ColumnProfile, parts: Sequence[Part], counts: Sequence[Sequence[int]]
) -> Iterator[ColumnPoint]:
    for part, live in zip(parts, counts, strict=True):
        rows = sum(live)
        if rows:
            yield ColumnPoint(
                at=part.at,
                seconds=part.seconds,
                rows=rows,
                psi=psi(column.counts, live),
                missing_share=live[MISSING] / rows,
            )
