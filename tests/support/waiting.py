"""Waiting for what another thread or process is about to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Outcome = TypeVar("Outcome")

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.1


def wait_until(
    condition: Callable[[], Outcome], within_s: float = 60.0, what: str | Callable[[], object] = ""
) -> Outcome:
    """Return the condition's outcome once it is true; fail with a sentence if it is not within `within_s`.

    `what` says what is waited for, or is called for what there is to see when it has not come.
    """
    deadline = time.monotonic() + within_s
    while True:
        began = time.monotonic()
        if outcome := condition():
            return outcome
        now = time.monotonic()
        if now > deadline:
            seen = what() if callable(what) else what or condition
            raise AssertionError(f"not within {within_s:g} s: {seen}")
        # As long as the look took: a costly one must not take the CPU from what it waits for.
        time.sleep(min(max(now - began, SHORTEST_PAUSE_S), LONGEST_PAUSE_S))
