"""Windows as arrays: one row per second that has traffic, and blocks of seconds. Judges nothing.

Every array has runs first, ``[runs, seconds, ...]``: a real release is one run, the simulation has many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from lading.traffic import CALLER_GROUPS, LATENCY_BOUNDS_S, Part, Window
from lading.verdict.e_values import EPOCH, Floats

BINS = len(LATENCY_BOUNDS_S) + 1
MIN_PER_BLOCK = 5
"""Observations of each side that a block has at least."""
MAX_NAMES = 32
"""Names of outputs that are distinguished; the rarest beyond them count as one."""
_OTHER = "(other)"

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Side:
    """The counts of one side, by the second."""

    requests: Floats  # [runs, seconds]
    errors: Floats  # [runs, seconds]
    latency: Floats  # [runs, seconds, bins]
    outputs: Floats  # [runs, seconds, names]
    right: Floats  # [runs, seconds]
    wrong: Floats  # [runs, seconds]
    agreed: Floats  # [runs, seconds]
    disagreed: Floats  # [runs, seconds], failed shadow copies included
    failed: Floats  # [runs, seconds], failed shadow copies
    same_values: Floats  # [runs, seconds], copies in which every number agreed

    @property
    def rated(self) -> Floats:
        """Answers whose truth is known from feedback."""
        return self.right + self.wrong

    @property
    def copies(self) -> Floats:
        """Requests that both sides answered, or were to answer."""
        return self.agreed + self.disagreed

    def without(self, run: int) -> Side:
        """Return the sum of all runs but one, as one run."""
        arrays = [getattr(self, each.name) for each in fields(self)]
        # Weights of outputs are fractions, whose sums round.
        rest = (array.sum(axis=0, keepdims=True) - array[run : run + 1] for array in arrays)
        return Side(*(np.maximum(counts, 0.0) for counts in rest))


def names_of(*sides: Sequence[Window]) -> tuple[str, ...]:
    """Return the names of outputs that are distinguished, in an order that is always the same."""
    names = sorted(set(chain.from_iterable(window.outputs for window in chain(*sides))))
    if len(names) <= MAX_NAMES:
        return tuple(names)
    totals: dict[str, int] = dict.fromkeys(names, 0)
    for window in chain(*sides):
        for name, count in window.outputs.items():
            totals[name] += count
    names.sort(key=totals.__getitem__, reverse=True)
    return (*names[: MAX_NAMES - 1], _OTHER)


def side_of(windows: Sequence[Window], times: Floats, names: Sequence[str]) -> Side:
    """Sum `windows` by second; the second of each is one of `times`."""
    index = np.searchsorted(times, _column(windows, "at"))  # [windows]
    # A window without requests has no histogram; one of another length is from another version of lading.
    counted = [at for at, window in enumerate(windows) if len(window.latency) == BINS]
    latency = np.fromiter(
        chain.from_iterable(windows[at].latency for at in counted), np.float64, len(counted) * BINS
    )
    place = index[counted][:, None] * BINS + np.arange(BINS)  # [windows, bins], in the flat sums
    return _side(windows, index, (1, len(times)), names, (place.reshape(-1), latency))


def sides_by_group(windows: Sequence[Window], times: Floats, names: Sequence[str]) -> Side:
    """Sum the parts of `windows` by second, a run for each group of callers and one for unknown callers."""
    parts: list[Part | Window] = []
    run: list[int] = []
    at: list[float] = []
    for window in windows:
        # A server of an earlier version distinguished no callers.
        of_window = window.parts or (window,)
        parts += of_window
        run += [part.group if isinstance(part, Part) else CALLER_GROUPS for part in of_window]
        at += [window.at] * len(of_window)
    seconds = len(times)
    index = np.array(run, np.int64) * seconds + np.searchsorted(times, np.array(at, np.float64))  # [parts]
    places, counts = [], []
    for part, start in zip(parts, (index * BINS).tolist(), strict=True):
        bins = part.latency if isinstance(part, Part) else enumerate(part.latency[:BINS])
        for bin_, count in bins:
            if count and bin_ < BINS:
                places.append(start + bin_)
                counts.append(count)
    latency = (np.array(places, np.int64), np.array(counts, np.float64))
    return _side(parts, index, (CALLER_GROUPS + 1, seconds), names, latency)


def _side(
    windows: Sequence[Window | Part],
    index: Indices,
    shape: tuple[int, int],
    names: Sequence[str],
    latency: tuple[Indices, Floats],
) -> Side:
    """Sum `windows` at `index` of the flat ``[runs, seconds]``, and `latency` at its own places."""
    runs, seconds = shape

    def by_second(values: Floats) -> Floats:
        sums = np.bincount(index, weights=values, minlength=runs * seconds)
        return sums.astype(np.float64, copy=False).reshape(shape)  # [runs, seconds]

    requests = by_second(_column(windows, "requests"))
    failed = _column(windows, "shadow.failed")
    agreed, disagreed = _column(windows, "shadow.agreed"), _column(windows, "shadow.differed") + failed
    copies = by_second(agreed + disagreed)
    errors = (sum(window.errors.values()) if window.errors else 0 for window in windows)
    histogram = np.bincount(latency[0], weights=latency[1], minlength=runs * seconds * BINS)
    return Side(
        requests=requests,
        errors=by_second(np.fromiter(errors, np.float64, len(windows))),
        latency=histogram.astype(np.float64, copy=False).reshape(runs, seconds, BINS),
        outputs=_outputs(windows, index, np.maximum(requests, copies), names),
        right=by_second(_column(windows, "feedback.right")),
        wrong=by_second(_column(windows, "feedback.wrong")),
        agreed=by_second(agreed),
        disagreed=by_second(disagreed),
        failed=by_second(failed),
        same_values=by_second(_column(windows, "shadow.same_values")),
    )


def _column(windows: Sequence[Window | Part], field: str) -> Floats:
    return np.fromiter(map(attrgetter(field), windows), np.float64, len(windows))


def _outputs(
    windows: Sequence[Window | Part], index: Indices, requests: Floats, names: Sequence[str]
) -> Floats:
    runs, seconds = requests.shape
    width = max(len(names), 1)
    per_window = [window.outputs for window in windows]
    column = {name: at for at, name in enumerate(names)}
    other = len(names) - 1  # the last name stands for all that are not distinguished
    columns = [column.get(name, other) for name in chain.from_iterable(per_window)]
    counts = np.fromiter(
        chain.from_iterable(outputs.values() for outputs in per_window), np.float64, len(columns)
    )
    place = np.repeat(index, [len(outputs) for outputs in per_window]) * width
    place = place + np.array(columns, dtype=np.int64)
    flat = np.bincount(place, weights=counts, minlength=runs * seconds * width)
    sums = flat.astype(np.float64, copy=False).reshape(runs, seconds, width)
    # The rows of one request are not independent: together they weigh as much as one request.
    total = sums.sum(axis=-1)  # [runs, seconds]
    weight = np.minimum(1.0, np.divide(requests, total, out=np.ones_like(total), where=total > 0))
    return np.asarray(sums * weight[..., None])


@dataclass(frozen=True, slots=True)
class Blocks:
    """The edges of blocks among the seconds; the last block may be empty."""

    edges: Indices  # [runs, blocks + 1]
    # Sums by the identity of the summed array, which is kept with them: gates ask for the same ones again.
    _summed: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)

    def past(self, values: Floats) -> Floats:
        """Sum `values` over all seconds before each block, ``[runs, blocks, ...]``."""
        return self._of(values)[1]

    def past_of_epoch(self, values: Floats) -> Floats:
        """Sum `values` over the seconds from the start of each block's epoch to the block."""
        past = self.past(values)
        return past - past[:, np.arange(past.shape[1]) // EPOCH * EPOCH]

    def sums(self, values: Floats) -> Floats:
        """Sum `values` over the seconds of each block, ``[runs, blocks, ...]``."""
        return self._of(values)[0]

    def _of(self, values: Floats) -> tuple[Floats, Floats]:
        for known, sums, past in self._summed:
            if known is values:
                return sums, past
        runs, seconds, *rest = values.shape
        total = np.zeros((runs, seconds + 1, *rest))  # of all seconds before each
        np.cumsum(values, axis=1, out=total[:, 1:])
        sums = np.diff(total[np.arange(runs)[:, None], self.edges], axis=1)  # [runs, blocks, ...]
        past = np.cumsum(sums, axis=1) - sums
        self._summed.append((values, sums, past))
        return sums, past


def blocks_of(counts: Sequence[Floats], ages: Floats) -> Blocks:
    """Cut seconds into blocks that each have `MIN_PER_BLOCK` of every one of `counts`, ``[runs, seconds]``.

    ``ages`` are the seconds since the step began. A block lasts at least a second and, later, a hundredth of
    the age (a minute at most). The seconds at the end that do not fill a block wait for it to fill.
    """
    # An hour need not be looked at by the second: the number of blocks grows with the log of the age.
    enough = np.searchsorted(ages + 1, ages + np.clip(ages / 100, 1.0, 60.0) - 1e-6) + 1
    runs = [_edges([count[run] for count in counts], enough) for run in range(len(counts[0]))]
    edges = np.zeros((len(runs), max(map(len, runs))), dtype=np.int64)
    for run, of_run in enumerate(runs):
        edges[run, : len(of_run)] = of_run
        edges[run, len(of_run) :] = of_run[-1]  # runs with fewer blocks are filled up with empty ones
    return Blocks(edges)


def _edges(counts: Sequence[Floats], enough: Indices) -> list[int]:
    """Return the edges of one run; `enough` is where a block that begins at each second is long enough."""
    seconds = len(enough)
    ends = enough  # [seconds], of the block that begins at each
    for count in counts:
        total = np.concatenate([[0.0], count.cumsum()])  # [seconds + 1]
        ends = np.maximum(ends, np.searchsorted(total, total[:-1] + MIN_PER_BLOCK - 1e-9))
    steps: list[int] = ends.tolist()
    edges = [0]
    while edges[-1] < seconds and steps[edges[-1]] <= seconds:
        edges.append(steps[edges[-1]])
    return edges
