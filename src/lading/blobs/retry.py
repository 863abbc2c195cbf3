"""Trying again what may work a moment later: how often, and how long to wait in between.

Knows no protocol: whoever meets a passing fault says so with `TransientError`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lading.clock import back_off_s
from lading.errors import LadingError

T = TypeVar("T")


class TransientError(Exception):
    """A fault that may pass; `error` is what to raise when it does not. ``after_s``: not before, they say."""

    def __init__(self, error: LadingError, *, after_s: float = 0) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


@dataclass(frozen=True)
class Retry:
    """Tries up to `attempts` times, with pauses that double from `first_s` up to `most_s`: 3 s in all."""

    attempts: int = 5
    first_s: float = 0.2
    most_s: float = 10.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, act: Callable[[], T]) -> T:
        """Call `act` until it no longer raises `TransientError`; at the end, raise the error in it."""
        failed = 0
        while True:
            try:
                return act()
            except TransientError as fault:
                failed += 1
                if failed >= self.attempts:
                    raise fault.error from fault.__cause__
                self.sleep(self._pause_s(failed, fault.after_s))

    def _pause_s(self, failed: int, after_s: float) -> float:
        # Half of it is chance, so that many who were cut off at once do not come back at once.
        pause_s = back_off_s(failed, first_s=self.first_s, most_s=self.most_s)
        jittered_s = pause_s * random.uniform(0.5, 1)  # noqa: S311 - no secret
        return min(max(jittered_s, after_s), self.most_s)
