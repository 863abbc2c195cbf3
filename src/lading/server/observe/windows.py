"""Windows of live traffic: what a release's verdict is reached from, counted by the second.

The hot path only appends to a list; a background thread turns the lists into counts. Windows stay in memory
until they are drained. Beyond a limit the oldest are dropped: the catalog may be unreachable for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lading.server.inference.version import ServedVersion
from lading.signature import Array, Tensor
from lading.traffic import LATENCY_BOUNDS_S, FeedbackCounts, ShadowCounts, Window

log = logging.getLogger("lading.server")

_MAX_WINDOWS = 600  # Ten minutes of one version, or fewer of several.
_MAX_ROWS = 20_000  # Rows of one version that are named in one second; naming them all could take longer.
_MAX_BUCKETS = 64
_BINS = 10


@dataclass(slots=True)
class SecondCounts:
    """What happened to one version since the last window. Appending is atomic, so no lock is needed.

    ``answers`` has latency in seconds, primary output and name of the error; ``shadows`` a field name of
    `ShadowCounts` for each copy, ``feedback`` whether each row was predicted right.
    """

    answers: list[tuple[float, Array | None, str]] = field(default_factory=list)
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
        self._buckets: dict[tuple[str, str], OutputBuckets] = {}
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

    def buckets(self, version: ServedVersion) -> OutputBuckets:
        """Return what names the outputs of a version, by the bins of the version that is live now."""
        live = self.live_of(version.name)
        reference = live if live is not None and live.is_opened else version
        # By digest, because a version as a key would stay in memory after it has been unloaded.
        key = (version.digest, reference.digest)
        buckets = self._buckets.get(key)
        if buckets is None:
            kept = list(self._buckets.items())[-_MAX_BUCKETS + 1 :]
            buckets = OutputBuckets(version, reference)
            # Replaced as a whole: other threads may be reading it.
            self._buckets = {**dict(kept), key: buckets}
        return buckets

    def _window(
        self, release: int, version: ServedVersion, counts: SecondCounts, began: float, seconds: float
    ) -> Window:
        answers = counts.answers
        outputs = [primary for _, primary, _ in answers if primary is not None]
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

    def _outputs(self, version: ServedVersion, outputs: Sequence[Array]) -> dict[str, int]:
        """Count outputs by name; if they cannot be named, the requests count all the same."""
        try:
            return self.buckets(version).count(outputs) if outputs else {}
        except Exception:
            # A model may return anything. The windows of all other models are made in the same thread.
            if version.digest not in self._unnamed:
                self._unnamed.add(version.digest)
                log.exception("the outputs of %s are not counted", version.label)
            return {}


class OutputBuckets:
    """Names the primary outputs of a version: by label, or by the decile of the golden values they fall in.

    The golden values are those of `live`, if its primary output is the same tensor.
    """

    def __init__(self, version: ServedVersion, live: ServedVersion) -> None:
        self._labels: Mapping[str, str] = version.labels
        self._tensor: Tensor = version.signature.primary
        self._edges: Array | None = None
        if not (self._tensor.columns or self._tensor.dtype in ("string", "bool") or self._is_label):
            reference = live if live.signature.primary == self._tensor else version
            golden = reference.samples.outputs[self._tensor.name].astype(np.float64).reshape(-1)
            finite = golden[np.isfinite(golden)]
            quantiles = np.linspace(0, 1, _BINS + 1)[1:-1]
            self._edges = np.unique(np.quantile(finite, quantiles)) if finite.size else np.zeros(1)

    @property
    def _is_label(self) -> bool:
        return self._tensor.name == "label" or self._tensor.dtype.startswith(("int", "uint"))

    def count(self, outputs: Sequence[Array]) -> dict[str, int]:
        """Count the rows of `outputs` by name, up to a limit of rows; they may have different widths."""
        counted: Counter[str] = Counter()
        for rows in _by_width(outputs):
            if self._edges is not None:
                counted.update(self._by_bin(rows.astype(np.float64).reshape(-1)))
            else:
                names, counts = np.unique(self.names(rows), return_counts=True)
                counted.update(dict(zip(names.tolist(), counts.tolist(), strict=True)))
        return dict(counted)

    def names(self, rows: Array) -> Array:
        """Return the label of each row, as text; `rows` is ``[rows, outputs]``."""
        tensor, labels = self._tensor, self._labels
        if tensor.columns and tensor.name in ("probabilities", "scores"):
            keys = np.array(tensor.columns)[rows.argmax(axis=-1)]  # [rows]
        else:
            keys = rows[:, 0].astype(str)  # [rows]
        return np.array([labels.get(key, key) for key in keys.tolist()], dtype=str)

    def _by_bin(self, values: Array) -> dict[str, int]:
        edges = self._edges
        assert edges is not None
        bins = np.bincount(np.searchsorted(edges, values[~np.isnan(values)]), minlength=len(edges) + 1)
        named = {f"bin {at}": int(count) for at, count in enumerate(bins) if count}
        missing = int(np.isnan(values).sum())
        return {**named, "nan": missing} if missing else named


def rows_of(array: Array) -> Array:
    """Return an output as ``[rows, values]``; one without a batch dimension is one row, an empty one none."""
    return array.reshape(len(array) if array.ndim else 1, -1) if array.size else array.reshape(0, 1)


def _latency_counts(latencies_s: Sequence[float]) -> tuple[int, ...]:
    """Count latencies in the bins of `LATENCY_BOUNDS_S` and one above; nothing for none."""
    if not latencies_s:
        return ()
    # A latency that equals a bound belongs below it.
    bins = np.searchsorted(np.array(LATENCY_BOUNDS_S), np.array(latencies_s), side="left")
    return tuple(np.bincount(bins, minlength=len(LATENCY_BOUNDS_S) + 1).tolist())


def _by_width(outputs: Sequence[Array]) -> Iterator[Array]:
    """Concatenate outputs of the same width to ``[rows, values]``, up to a limit of rows in all."""
    by_width: dict[int, list[Array]] = {}
    remaining = _MAX_ROWS
    for output in outputs:
        rows = rows_of(output)[:remaining]
        remaining -= len(rows)
        if len(rows):
            by_width.setdefault(rows.shape[1], []).append(rows)
    for same_width in by_width.values():
        yield np.concatenate(same_width)
