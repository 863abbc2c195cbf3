"""Counts live rows in the cells of each model's reference, and makes windows of the counts.

Beyond a rate a random share of the rows is counted: what drift looks like does not depend on how many more
there were. Writes nothing; `column_reports` delivers the windows.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lading.input_checks import Rule
from lading.profile import Profile
from lading.profile.encoding import digest as digest_of
from lading.profile.live import ColumnWindow, LiveCounts
from lading.server.inference.version import ServedVersion
from lading.server.observe.chunks import RowChunk
from lading.signature import Array

# A random part of a busy second says as much about a distribution, at a bounded cost.
ROWS_A_SECOND = 1000
"""How many rows of a version are counted in a second at most, in each process."""

WINDOW_S = 30.0
# Hours of an outage for a few models, in some megabytes.
_MOST_WINDOWS = 1000
# One call of numpy for hundreds of rows costs hardly more than for one.
_BUFFERED_ROWS = 256


@dataclass(eq=False)
class _Counted:
    """What is counted of one version under one release."""

    served: ServedVersion
    release: int
    profile_digest: str
    live: LiveCounts
    began: float
    seen: int = 0
    budget: float = ROWS_A_SECOND
    budget_at: float = 0.0
    inputs: list[Mapping[str, Array]] = field(default_factory=list)
    outputs: list[Mapping[str, Array]] = field(default_factory=list)
    buffered: int = 0


@dataclass
class _Checked:
    """What input checks have found since the last window."""

    rows: int = 0
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)


class ColumnWindows:
    """The windows of one process, counted in the cells of the profile in each version's bundle.

    ``baselines`` are references that replace it, by the name of the model; ``profiles`` are those that were
    counted by, by digest.
    """

    def __init__(
        self,
        replica: str,
        *,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        self._replica = replica
        self._window_s = window_s
        self._clock = clock
        self.baselines: Mapping[str, Profile] = {}
        self.profiles: dict[str, Profile] = {}
        self._random = np.random.default_rng(seed)
        self._counted: dict[tuple[str, str, int], _Counted | None] = {}
        self._checked: dict[tuple[str, int], _Checked] = {}
        self._windows: deque[ColumnWindow] = deque(maxlen=_MOST_WINDOWS)
        self._lock = threading.Lock()

    def add(self, chunk: RowChunk) -> None:
        """Count the rows of a chunk; a consumer of `Recorder`."""
        if chunk.has_failed:
            return  # What failed says nothing about the model's inputs: it may have been garbage.
        served = chunk.served
        key = (served.name, served.digest, chunk.release)
        with self._lock:
            counted = self._counted.get(key)
            if counted is None:
                # None is kept as well: a version without a profile is not asked again.
                if key in self._counted:
                    return
                counted = self._counted[key] = self._begin(served, chunk.release)
                if counted is None:
                    return
            self._add(counted, chunk)

    def add_failures(self, name: str, version: int, rows: int, failed: Iterable[tuple[Rule, int]]) -> None:
        """Add what input checks have found in `rows` rows of a version: to the window that ends next."""
        with self._lock:
            checked = self._checked.setdefault((name, version), _Checked())
            checked.rows += rows
            for rule, count in failed:
                checked.failures[rule.column, rule.kind] += count

    def rotate(self, now: float, *, last: bool = False) -> None:
        """End the windows that have lasted long enough at the Unix time `now`, or with `last` all of them."""
        with self._lock:
            for key, counted in list(self._counted.items()):
                if counted is None:
                    continue
                if last or now - counted.began >= self._window_s:
                    self._end(counted, now)
                    del self._counted[key]  # Begun again with its next rows, by the reference of then.

    def set_baselines(self, baselines: Mapping[str, Profile]) -> None:
        """Compare models with other references from now on; windows under way end first."""
        with self._lock:
            for counted in self._counted.values():
                if counted is not None:
                    self._end(counted, self._clock())
            self._counted = {}
            self.baselines = baselines

    def drain(self) -> list[ColumnWindow]:
        """Return the ended windows, and forget them."""
        with self._lock:
            windows = list(self._windows)
            self._windows.clear()
        return windows

    def put_back(self, windows: Sequence[ColumnWindow]) -> None:
        """Keep windows that could not be delivered; where there is no room, the oldest are dropped."""
        with self._lock:
            room = _MOST_WINDOWS - len(self._windows)
            self._windows.extendleft(reversed(windows[max(0, len(windows) - room) :]))

    def _begin(self, served: ServedVersion, release: int) -> _Counted | None:
        # Looked up when a window begins, so that all of its rows are in the same cells.
        profile = self.baselines.get(served.name) or served.model.profile
        if profile is None:
            return None
        live, digest = LiveCounts(profile, served.signature), digest_of(profile)
        self.profiles[digest] = profile
        return _Counted(served, release, digest, live, self._clock())

    def _add(self, counted: _Counted, chunk: RowChunk) -> None:
        now, rows = self._clock(), chunk.rows
        counted.seen += rows
        # Budget that was not used is kept for a second: a burst after a pause is counted whole.
        counted.budget += (now - counted.budget_at) * ROWS_A_SECOND
        counted.budget = min(counted.budget, float(ROWS_A_SECOND))
        counted.budget_at = now
        # A part of the budget is no row; it is kept for the next chunk.
        take = min(rows, int(counted.budget))
        if take <= 0:
            return
        counted.budget -= take
        if take < rows:
            inputs, outputs = chunk.take(take, self._random)
        else:
            inputs, outputs = chunk.inputs, chunk.outputs
        counted.inputs.append(inputs)
        counted.outputs.append(outputs)
        counted.buffered += take
        if counted.buffered >= _BUFFERED_ROWS or not chunk.served.signature.batched:
            _count(counted)

    def _end(self, counted: _Counted, now: float) -> None:
        _count(counted)
        rows = counted.live.rows
        if not rows:
            return
        served = counted.served
        checked = self._checked.pop((served.name, served.version), None) or _Checked()
        self._windows.append(
            ColumnWindow(
                name=served.name,
                version=served.version,
                digest=served.digest,
                release=counted.release,
                replica=self._replica,
                profile=counted.profile_digest,
                at=counted.began,
                # The clock may have been set back meanwhile.
                seconds=max(0.0, now - counted.began),
                rows=rows,
                seen=counted.seen,
                counts=counted.live.drain(),
                checked=checked.rows,
                failures=tuple(
                    (column, rule, count) for (column, rule), count in sorted(checked.failures.items())
                ),
                id=os.urandom(8).hex(),
            )
        )


def _count(counted: _Counted) -> None:
    """Count the buffered rows: together if they fit together, else one request after the other."""
    inputs, outputs = counted.inputs, counted.outputs
    counted.inputs, counted.outputs, counted.buffered = [], [], 0
    if not inputs:
        return
    names = outputs[0].keys()
    together = len(inputs) > 1 and all(each.keys() == names for each in outputs)
    if together:
        try:
            joined = [
                {name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]}
                for arrays in (inputs, outputs)
            ]
        except ValueError:
            pass  # Rows of several sizes.
        else:
            counted.live.add(joined[0], joined[1], _rows(joined[0], counted.served))
            return
    for request, answer in zip(inputs, outputs, strict=True):
        counted.live.add(request, answer, _rows(request, counted.served))


def _rows(inputs: Mapping[str, Array], served: ServedVersion) -> int:
    first = served.signature.inputs[0]
    return len(inputs[first.name]) if first.batched else 1
