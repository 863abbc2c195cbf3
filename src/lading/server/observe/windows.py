"""Windows of live traffic: what a release's verdict is reached from, counted by the second.

The hot path only appends to a list; a background thread turns the lists into counts. Windows stay in memory
until they are drained. Beyond a limit the oldest are dropped: the catalog may be unreachable for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lading.server.inference.version import ServedVersion
from lading.server.observe.outputs import OutputNames
from lading.signature import Array
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window

log = logging.getLogger("lading.server")

_MAX_WINDOWS = 600  # Ten minutes of one version, or fewer of several.
_MAX_NAMED = 64


@dataclass(slots=True)
class SecondCounts:
    """What happened to one version since the last window. Appending is atomic, so no lock is needed.

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


_CountsByVersion = dict[tuple[int, ServedVersion], SecondCounts]


class Windows:
    """The counts of this process, by release and version, and the windows made of them.

    ``live_of`` returns the live version of a model: the outputs of all its versions are counted in the bins
    of that one's golden values, because they could not be compared otherwise.
    """

    def __init__(self, replica: str) -> None:
        self.live_of: Callable[[str], ServedVersion | None] = lambda _name: None
        self._replica = replica
        self._counts: _CountsByVersion = {}
        self._ended: list[tuple[float, float, _CountsByVersion]] = []
        self._windows: deque[Window] = deque(maxlen=_MAX_WINDOWS)
        self._began = time.time()
        self._lock = threading.Lock()
        self._names: dict[tuple[str, str], OutputNames] = {}
        self._unnamed: set[str] = set()

    def counts(self, release: int, version: ServedVersion) -> SecondCounts:
        """Return the counts of the running second for a version under a release."""
        counts = self._counts.get((release, version))
        return counts if counts is not None else self._counts.setdefault((release, version), SecondCounts())

    @property
    def pending_answers(self) -> int:
        """How many answers are in memory, with their outputs, because they are not in a window yet."""
        with self._lock:
            seconds = [*(by_version for _, _, by_version in self._ended), self._counts]
            return sum(len(counts.answers) for by_version in seconds for counts in by_version.values())

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
        for began, until, by_version in ended:
            for (release, version), counts in by_version.items():
                if not counts.empty:
                    self._windows.append(self._window(release, version, counts, began, until - began))

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
        self, release: int, version: ServedVersion, counts: SecondCounts, began: float, seconds: float
    ) -> Window:
        answers = counts.answers
        outputs = [answered for _, answered, _ in answers if answered is not None]
        return Window(
            name=version.name,
            release=release,
            version=version.version,
            digest=version.digest,
            replica=self._replica,
            at=float(int(began)),
            seconds=round(seconds, 3),
            requests=len(answers),
            errors=dict(Counter(error for _, _, error in answers if error)),
            latency=_latency_counts([latency_s for latency_s, _, _ in answers]),
            outputs=self._outputs(version, outputs),
            shadow=ShadowCounts(**Counter(counts.shadows)),
            feedback=FeedbackCounts(right=counts.feedback.count(True), wrong=counts.feedback.count(False)),
        )

    def _outputs(self, version: ServedVersion, outputs: Sequence[Mapping[str, Array]]) -> dict[str, int]:
        """Count outputs by name; if they cannot be named, the requests count all the same."""
        try:
            return self.names(version).count(outputs) if outputs else {}
        except Exception:
            # A model may return anything. The windows of all other models are made in the same thread.
            if version.digest not in self._unnamed:
                self._unnamed.add(version.digest)
                log.exception("the outputs of %s are not counted", version.label)
            return {}


def _latency_counts(latencies_s: Sequence[float]) -> tuple[int, ...]:
    """Count latencies in the bins of `LATENCY_BOUNDS_S` and one above; nothing for none."""
    if not latencies_s:
        return ()
    # A latency that equals a bound belongs below it.
    bins = np.searchsorted(np.array(LATENCY_BOUNDS_S), np.array(latencies_s), side="left")
    return tuple(np.bincount(bins, minlength=len(LATENCY_BOUNDS_S) + 1).tolist())
