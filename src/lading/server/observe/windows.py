"""Windows of live traffic: what a release's verdict is reached from, counted by the second.

The hot path only appends to a list; a background thread makes the counts. Kept in memory until they are
taken (`take`) and dropped by the oldest beyond a limit, for the catalog may be away.
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

_MOST_WINDOWS = 600
_MOST_ROWS = 20_000
_MOST_BINNERS = 64
_BINS = 10


@dataclass(slots=True)
class Tally:
    """What happened to one version since the last window. Appending is atomic; nothing else is needed.

    ``shadows`` has a word of `ShadowCounts` for each copy, ``feedback`` whether each row was right.
    """

    answered: list[tuple[float, Array | None, str]] = field(default_factory=list)
    shadows: list[str] = field(default_factory=list)
    feedback: list[bool] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.answered or self.shadows or self.feedback)


class Windows:
    """The tallies of this process, by release and version, and the windows made of them.

    ``live_of`` gives the live version of a model: the outputs of all its versions are counted by the bins of
    that one's golden values, or they could not be compared.
    """

    def __init__(self, replica: str) -> None:
        self.live_of: Callable[[str], ServedVersion | None] = lambda _name: None
        self._replica = replica
        self._tallies: dict[tuple[int, ServedVersion], Tally] = {}
        self._ended: list[tuple[float, float, dict[tuple[int, ServedVersion], Tally]]] = []
        self._ready: deque[Window] = deque(maxlen=_MOST_WINDOWS)
        self._began = time.time()
        self._lock = threading.Lock()
        self._binners: dict[tuple[str, str], OutputBuckets] = {}
        self._unnamed: set[str] = set()

    def tally(self, release: int, served: ServedVersion) -> Tally:
        """Return the tally of a version under a release."""
        found = self._tallies.get((release, served))
        return found if found is not None else self._tallies.setdefault((release, served), Tally())

    def cut(self, now: float, *, last: bool = False) -> None:
        """End the running second, and make windows of the one before it; with `last` of both.

        A second is read only when the next has ended: whoever took its tally has added to it by then.
        """
        with self._lock:
            ended, self._ended = self._ended, [(self._began, now, self._tallies)]
            self._tallies, self._began = {}, now
            if last:
                ended, self._ended = ended + self._ended, []
        for began, until, tallies in ended:
            for (release, served), tally in tallies.items():
                if not tally.empty:
                    self._ready.append(self._window(release, served, tally, began, until - began))

    def take(self) -> list[Window]:
        """Take the finished windows out; `put_back` what could not be delivered."""
        with self._lock:
            taken = list(self._ready)
            self._ready.clear()
        return taken

    def put_back(self, windows: Sequence[Window]) -> None:
        """Keep `windows` for the next time, the oldest first to be dropped."""
        with self._lock:
            room = _MOST_WINDOWS - len(self._ready)
            self._ready.extendleft(reversed(windows[max(0, len(windows) - room) :]))

    def binner(self, served: ServedVersion) -> OutputBuckets:
        """Return what names the outputs of a version beside the one that is live now."""
        live = self.live_of(served.name)
        like = live if live is not None and live.is_opened else served
        # By digest: a version that has been unloaded is not kept alive by what named its outputs.
        key = (served.digest, like.digest)
        found = self._binners.get(key)
        if found is None:
            kept = list(self._binners.items())[-_MOST_BINNERS + 1 :]
            found = OutputBuckets(served, like)
            self._binners = {**dict(kept), key: found}
        return found

    def _window(self, release: int, served: ServedVersion, tally: Tally, at: float, seconds: float) -> Window:
        answered = tally.answered
        latency = np.array([one[0] for one in answered])
        bins = np.searchsorted(np.array(LATENCY_BOUNDS_S), latency, side="left")
        counts = np.bincount(bins, minlength=len(LATENCY_BOUNDS_S) + 1)
        return Window(
            name=served.name,
            release=release,
            version=served.version,
            digest=served.digest,
            replica=self._replica,
            at=float(int(at)),
            seconds=round(seconds, 3),
            requests=len(answered),
            errors=dict(Counter(one[2] for one in answered if one[2])),
            latency=tuple(int(count) for count in counts) if answered else (),
            outputs=self._outputs(served, [one[1] for one in answered if one[1] is not None]),
            shadow=ShadowCounts(**Counter(tally.shadows)),
            feedback=FeedbackCounts(right=tally.feedback.count(True), wrong=tally.feedback.count(False)),
        )

    def _outputs(self, served: ServedVersion, outputs: Sequence[Array]) -> dict[str, int]:
        """Count outputs by name; where they cannot be named the requests count all the same."""
        try:
            return self.binner(served).count(outputs) if outputs else {}
        except Exception:
            # Whatever a model puts out: the windows of all the others are made beside this one.
            if served.digest not in self._unnamed:
                self._unnamed.add(served.digest)
                log.exception("the outputs of %s are not counted", served.label)
            return {}


class OutputBuckets:
    """Names the primary outputs of a version: by label, or by the tenth of the golden values they fall in.

    The golden values are those of `live`, where its output is of the same kind.
    """

    def __init__(self, served: ServedVersion, live: ServedVersion) -> None:
        self._labels: Mapping[str, str] = served.labels
        self._tensor: Tensor = served.signature.primary
        self._edges: Array | None = None
        if not (self._tensor.columns or self._tensor.dtype in ("string", "bool") or self._is_label):
            like = live if live.signature.primary == self._tensor else served
            golden = like.samples.outputs[self._tensor.name].astype(np.float64).reshape(-1)
            finite = golden[np.isfinite(golden)]
            quantiles = np.linspace(0, 1, _BINS + 1)[1:-1]
            self._edges = np.unique(np.quantile(finite, quantiles)) if finite.size else np.zeros(1)

    @property
    def _is_label(self) -> bool:
        return self._tensor.name == "label" or self._tensor.dtype.startswith(("int", "uint"))

    def count(self, outputs: Sequence[Array]) -> dict[str, int]:
        """Count the rows of `outputs` by name, up to a limit of rows; they may be of different widths."""
        counted: Counter[str] = Counter()
        for rows in _alike(outputs):
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
            keys = np.array(tensor.columns)[rows.argmax(axis=-1)]
        else:
            keys = rows[:, 0].astype(str)
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


def _alike(outputs: Sequence[Array]) -> Iterator[Array]:
    """Put outputs of the same width together as ``[rows, values]``, up to a limit of rows in all."""
    widths: dict[int, list[Array]] = {}
    left = _MOST_ROWS
    for one in outputs:
        rows = rows_of(one)[:left]
        left -= len(rows)
        if len(rows):
            widths.setdefault(rows.shape[1], []).append(rows)
    for rows_alike in widths.values():
        yield np.concatenate(rows_alike)
