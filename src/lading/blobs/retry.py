"""Retries of what may work a moment later, with exponential back-off.

Knows no protocol: code that meets such a fault raises `TransientError`.
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
    """A fault that may pass; `error` is what to raise if it does not.

    `after_s` is how long the other side asked to wait (HTTP's ``Retry-After``).
    """

    def __init__(self, error: LadingError, *, after_s: float = 0) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


class AnswerRefused(Exception):
    """An answer that is not read and not asked for again: its text says what came instead of a proper one."""


@dataclass(frozen=True)
class Retry:
    """Up to `attempts` tries, with pauses that double from `first_s` up to `most_s`: 3 s by default."""

    attempts: int = 5
    first_s: float = 0.2
    most_s: float = 10.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, act: Callable[[], T]) -> T:
        """Call `act` until it raises no `TransientError`; after the last try, raise the error in it."""
        failures = 0
        while True:
            try:
                return act()
            except TransientError as fault:
                failures += 1
                if failures >= self.attempts:
                    raise fault.error from fault.__cause__
                self.sleep(self._pause_s(failures, fault.after_s))

    def _pause_s(self, failures: int, after_s: float) -> float:
        pause_s = back_off_s(failures, first_s=self.first_s, most_s=self.most_s)
        # Half of it is random, so that many clients that were cut off together do not come back together.
        jittered_s = pause_s * random.uniform(0.5, 1)  # noqa: S311 - no secret
        return min(max(jittered_s, after_s), self.most_s)
