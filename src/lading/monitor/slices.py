"""Decay by slice: the accuracy of groups of rows, each against its own past, with one level over all slices.

A slice is a name that the caller has for a group of labelled rows, such as ``country=KR``. Slices differ from
each other in any case, so none is compared with the whole: each has its own reference, which are its rows in
the reference if known, else its first labelled rows. Which slices there are is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lading.monitor import decay, discoveries
from lading.monitor.decay import DecayState

BASELINE_ROWS = 200
"""So many labelled rows of a slice become its reference where the profile has none."""


class SliceState(msgspec.Struct, frozen=True):
    """One slice: its test, None while the first labelled rows are collected for a reference."""

    test: DecayState | None = None
    baseline_wrong: int = 0
    baseline_right: int = 0

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value against no decay, 0 while there is no test."""
        return self.test.log_e if self.test else 0.0


def advance(
    states: Mapping[str, SliceState],
    windows: Mapping[str, tuple[int, int]],
    at: float,
    seconds: float,
    reference: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, SliceState]:
    """Return the slices after one more window, with ``(wrong, right)`` of the labelled rows of each slice.

    `reference` has the same of the reference. New slices are added, others stay as they were.
    """
    # Labels of a slice may pause for days: without new ones it stays as it was.
    result = dict(states)
    for name, (wrong, right) in windows.items():
        known = (reference or {}).get(name)
        state = result.get(name) or _first(known, seconds)
        result[name] = _advance(state, wrong, right, at, seconds)
    return result


def _first(known: tuple[int, int] | None, seconds: float) -> SliceState:
    # With a few rows the reference itself is uncertain, and any slice would look worse now and then.
    # A reference of a few rows would let the test find nothing for as long as it runs.
    if known is None or sum(known) < BASELINE_ROWS:
        return SliceState()
    return SliceState(DecayState.start(known[1], sum(known), seconds))


def _advance(state: SliceState, wrong: int, right: int, at: float, seconds: float) -> SliceState:
    if state.test is not None:
        test = decay.advance(state.test, wrong, right, at, seconds)
        return msgspec.structs.replace(state, test=test)
    wrong, right = state.baseline_wrong + wrong, state.baseline_right + right
    test_now = DecayState.start(right, wrong + right, seconds) if wrong + right >= BASELINE_ROWS else None
    return SliceState(test_now, wrong, right)


def alarm_of(states: Mapping[str, SliceState], alpha: float = discoveries.ALPHA) -> dict[str, float]:
    """Return the slices that have decayed, with one chance `alpha` of any false alarm over all of them."""
    return discoveries.alarm_of(states, alpha)
