"""Windows of live traffic: what a release's verdict is reached from, counted by the second.

The hot path only appends to a list; a background thread turns the lists into counts. Windows stay in memory
until they are drained. Beyond a limit the oldest are dropped: the catalog may be unreachable for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lading.server.inference.version import ServedVersion
from lading.server.observe.outputs import MAX_NAMED_ROWS, OutputNames
from lading.signature import Array
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, Part, ShadowCounts, Window

log = logging.getLogger("lading.server")

_MAX_WINDOWS = 600  # Ten minutes of one version, or fewer of several.
_MAX_NAMED = 64


@dataclass(slots=True)
class SecondCounts:
    """What one group of callers had of one version since the last window. Appending is atomic: no lock.

    ``answers`` has latency in seconds, outputs and name of the error; ``shadows`` a field name of
    `ShadowCounts` for each copy, ``feedback`` whether each row was predicted right.
    """

    answers: list[tuple[float, Mapping[str, Array] | None, str]] = field(default_factory=list)
    shadows: list[str] = field(default_factory=list)
    feedback: list[bool] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing was counted."""
        return not (self.answers or self.shadows or self.feedback)


_Counts = dict[tuple[int, ServedVersion, int], SecondCounts]
_UNKNOWN = -1  # The group of callers that are not distinguished, because no release is judged.


class Windows:
    """The counts of this process, by release and version, and the windows made of them.

    ``live_of`` returns the live version of a model: the outputs of all its versions are counted in the bins
    of that one's golden values, because they could not be compared otherwise.
    """

    def __init__(self, replica: str) -> None:
        self.live_of: Callable[[str], ServedVersion | None] = lambda _name: None
        self._replica = replica
        self._counts: _Counts = {}
        self._ended: list[tuple[float, float, _Counts]] = []
        self._windows: deque[Window] = deque(maxlen=_MAX_WINDOWS)
        self._began = time.time()
        self._lock = threading.Lock()
        self._names: dict[tuple[str, str], OutputNames] = {}
        self._unnamed: set[str] = set()

    def counts(self, release: int, version: ServedVersion, group: int = _UNKNOWN) -> SecondCounts:
        """Return the counts of the running second for a version under a release and a group of callers."""
        key = (release, version, group)
        counts = self._counts.get(key)
        return counts if counts is not None else self._counts.setdefault(key, SecondCounts())

    @property
    def pending_answers(self) -> int:
        """How many answers are in memory, with their outputs, because they are not in a window yet."""
        with self._lock:
            seconds = [*(all_counts for _, _, all_counts in self._ended), self._counts]
            return sum(len(counts.answers) for all_counts in seconds for counts in all_counts.values())

    def rotate(self, now: float, *, last: bool = False) -> None:
        """End the running second, and make windows of the second before it; with `last` of both.

        A second becomes a window only when the next one has ended: a thread that fetched its `counts` just
        before it ended has added to them by then.
        """
        with self._lock:
            ended, self._ended = self._ended, [(self._began, now, self._counts)]
            self._counts, self._began = {}, now
            if last:
                ended, self._ended = ended + self._ended, []
        for began, until, all_counts in ended:
            by_version: dict[tuple[int, ServedVersion], dict[int, SecondCounts]] = {}
            for (release, version, group), counts in all_counts.items():
                if not counts.empty:
                    by_version.setdefault((release, version), {})[group] = counts
            for (release, version), by_group in by_version.items():
                self._windows.append(self._window(release, version, by_group, began, until - began))

    def begin_at(self, now: float) -> None:
        """Date the running second again, after the clock was set: it would seem to last for hours."""
        with self._lock:
            self._began = now

    def drain(self) -> list[Window]:
        """Remove and return the finished windows; `put_back` those that could not be delivered."""
        with self._lock:
            windows = list(self._windows)
            self._windows.clear()
        return windows

    def put_back(self, windows: Sequence[Window]) -> None:
        """Keep `windows` until the next `drain`; where there is no room for all, the oldest are dropped."""
        with self._lock:
            room = _MAX_WINDOWS - len(self._windows)
            self._windows.extendleft(reversed(windows[max(0, len(windows) - room) :]))

    def names(self, version: ServedVersion) -> OutputNames:
        """Return what names the outputs of a version, by the bins of the version that is live now."""
        live = self.live_of(version.name)
        reference = live if live is not None and live.is_opened else version
        return self.names_of(version, reference)

    def names_of(self, version: ServedVersion, reference: ServedVersion) -> OutputNames:
        """Return what names the outputs of a version, by the bins of `reference`."""
        # By digest, because a version as a key would stay in memory after it has been unloaded.
        key = (version.digest, reference.digest)
        names = self._names.get(key)
        if names is None:
            kept = list(self._names.items())[-_MAX_NAMED + 1 :]
            names = OutputNames(version, reference)
            # Replaced as a whole: other threads may be reading it.
            self._names = {**dict(kept), key: names}
        return names

    def _window(
        self,
        release: int,
        version: ServedVersion,
        by_group: Mapping[int, SecondCounts],
        began: float,
        seconds: float,
    ) -> Window:
        # Each group has its share of the rows that are named: nobody's many rows crowd out those of others.
        most_rows = MAX_NAMED_ROWS // len(by_group)
        parts = [self._part(version, group, counts, most_rows) for group, counts in by_group.items()]
        latency: Counter[int] = Counter()
        for part in parts:
            latency.update(dict(part.latency))
        requests = sum(part.requests for part in parts)
        return Window(
            name=version.name,
            release=release,
            version=version.version,
            digest=version.digest,
            replica=self._replica,
            at=float(int(began)),
            seconds=round(seconds, 3),
            requests=requests,
            errors=_sum(part.errors for part in parts),
            latency=tuple(latency[at] for at in range(len(LATENCY_BOUNDS_S) + 1)) if requests else (),
            outputs=_sum(part.outputs for part in parts),
            shadow=ShadowCounts(**Counter(field for counts in by_group.values() for field in counts.shadows)),
            feedback=FeedbackCounts(
                right=sum(part.feedback.right for part in parts),
                wrong=sum(part.feedback.wrong for part in parts),
            ),
            parts=tuple(part for part in parts if part.group != _UNKNOWN),
        )

    def _part(self, version: ServedVersion, group: int, counts: SecondCounts, most_rows: int) -> Part:
        answers = counts.answers
        outputs = [answered for _, answered, _ in answers if answered is not None]
        return Part(
            group=group,
            requests=len(answers),
            errors=dict(Counter(error for _, _, error in answers if error)),
            latency=_latency_counts([latency_s for latency_s, _, _ in answers]),
            outputs=self._outputs(version, outputs, most_rows),
            shadow=ShadowCounts(**Counter(counts.shadows)),
            feedback=FeedbackCounts(right=counts.feedback.count(True), wrong=counts.feedback.count(False)),
        )

    def _outputs(
        self, version: ServedVersion, outputs: Sequence[Mapping[str, Array]], most_rows: int
    ) -> dict[str, int]:
        """Count outputs by name; if they cannot be named, the requests count all the same."""
        try:
            return self.names(version).count(outputs, most_rows) if outputs else {}
        except Exception:
            # A model may return anything. The windows of all other models are made in the same thread.
            if version.digest not in self._unnamed:
                self._unnamed.add(version.digest)
                log.exception("the outputs of %s are not counted", version.label, extra=version.about)
            return {}


def _latency_counts(latencies_s: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Count latencies by the number of their bin: those of `LATENCY_BOUNDS_S`, and one above."""
    if not latencies_s:
        return ()
    # A latency that equals a bound belongs below it.
    bins = np.searchsorted(np.array(LATENCY_BOUNDS_S), np.array(latencies_s), side="left")
    counts = np.bincount(bins)
    return tuple((int(at), int(counts[at])) for at in np.flatnonzero(counts))


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(total)
