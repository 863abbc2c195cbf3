"""The windows of one step as traffic of both sides: of all callers, or of all but one group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lading.traffic import CALLER_GROUPS, Window
from lading.verdict.aggregates import Side, names_of, side_of, sides_by_group
from lading.verdict.e_values import Floats
from lading.verdict.observations import Traffic

MIN_GROUPS = 4
"""Groups of callers from which on one of them is left out: of fewer, one may well be all that there is."""
_LEAST_REST = 0.1
"""A group that asks for more than all but this part of both sides' requests is the traffic, and stays."""


@dataclass(frozen=True, slots=True)
class StepWindows:
    """The windows of both sides in one step, and those of live in the steps before it."""

    live: Sequence[Window]
    candidate: Sequence[Window]
    before: Sequence[Window]
    names: tuple[str, ...]
    since: float
    shadow: bool

    @classmethod
    def of(
        cls, live: Sequence[Window], candidate: Sequence[Window], now: float, since: float, *, shadow: bool
    ) -> StepWindows:
        """Choose the windows of the step that began at `since`, from all of a release at `now`."""
        return cls(
            live=[window for window in live if since <= window.at <= now],
            candidate=[window for window in candidate if since <= window.at <= now],
            before=[window for window in live if window.at < since],
            names=names_of(live, candidate),
            since=since,
            shadow=shadow,
        )

    def traffic(self) -> Traffic:
        """Return what all callers had."""
        times, earlier = _times(self.live, self.candidate), _times(self.before)
        return self._traffic(
            side_of(self.live, times, self.names),
            side_of(self.candidate, times, self.names),
            side_of(self.before, earlier, self.names),
            times,
        )

    def is_of_few_callers(self) -> bool:
        """Return whether one caller may have made most of the requests, as far as servers know callers."""
        windows = (*self.live, *self.candidate)
        return 0 < len({part.group for window in windows for part in window.parts}) < MIN_GROUPS

    def without_each(self) -> Iterator[Traffic]:
        """Return what all but one group of callers had, for each group that can be left out.

        None can be where there are too few, and none is left out beside which there is hardly anybody else.
        """
        times, earlier = _times(self.live, self.candidate), _times(self.before)
        live, candidate, before = (
            sides_by_group(windows, at, self.names)
            for windows, at in ((self.live, times), (self.candidate, times), (self.before, earlier))
        )
        requests = (live.requests + candidate.requests + candidate.copies).sum(
            axis=-1
        )  # [groups and unknown]
        if np.count_nonzero(requests[:CALLER_GROUPS]) < MIN_GROUPS:
            return
        for group in np.flatnonzero(requests[:CALLER_GROUPS]).tolist():
            if requests.sum() - requests[group] >= _LEAST_REST * requests.sum():
                yield self._traffic(
                    live.without(group), candidate.without(group), before.without(group), times
                )

    def _traffic(self, live: Side, candidate: Side, before: Side, times: Floats) -> Traffic:
        return Traffic(live, candidate, before, ages=times - self.since, shadow=self.shadow)


def _times(*sides: Sequence[Window]) -> Floats:
    return np.unique(
        np.array([window.at for side in sides for window in side], dtype=np.float64)
    )  # [seconds]
