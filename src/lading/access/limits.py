"""Rate limits and quotas: token buckets, each one number in memory that all workers of a server share.

A bucket is kept as the time at which it will be full again (GCRA, as in ATM's traffic management): one
number, read and written at once, on a clock that all processes of a machine share. Two workers that take from
a bucket in the same microsecond may both write what is one request too few: a limit is never stricter than
stated, and at most as many requests looser as there are workers that ask at the same moment. What other
servers count is not known here, and nothing survives the end of the server.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import time
from collections.abc import Callable

from lading.access import Caller
from lading.errors import RateExceeded

SLOTS = 1 << 16

LIMITS_BYTES = SLOTS * 8
"""Memory for all buckets; only pages that are used take some."""


class Limits:
    """The buckets of a server, in `memory` that its workers share; else of this process alone."""

    def __init__(self, memory: mmap.mmap | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Doubles, whose eight bytes are aligned: a worker reads none that another has half written.
        self._full_at = memoryview(memory or mmap.mmap(-1, LIMITS_BYTES)).cast("d")

    def take(self, caller: Caller) -> None:
        """Count one request of a caller; raises `RateExceeded` if a bucket of it is empty."""
        now, taken = self._clock(), []
        for slot, limit in zip(caller.slots, caller.limits, strict=True):
            # A bucket that was full in the past is full now: unused time is not saved up beyond the burst.
            full_at = max(self._full_at[slot], now) + 1.0 / limit.per_s
            late_s = full_at - now - limit.burst / limit.per_s
            # Tolerates the rounding of sums of doubles: a burst of 50 at 50/s must let 50 through.
            if late_s > 1e-9:
                raise RateExceeded(
                    f"`{caller.name}`",
                    expected=f"at most its {limit.text}",
                    found="more requests",
                    retry_after_s=max(1, math.ceil(late_s)),
                )
            taken.append((slot, full_at))
        # Only now: what one limit refuses takes nothing from the other.
        for slot, full_at in taken:
            self._full_at[slot] = full_at


def slots_of(*names: str, count: int) -> tuple[int, ...]:
    """Return where the limits of a caller are counted: the same in every worker, and after each reload.

    Of 65,536 places: two callers share one at random, once in 13 files of 100 callers with limits.
    """
    # Not `hash`: that of texts differs from process to process, and the workers share the places.
    digest = hashlib.blake2b("\0".join(names).encode()).digest()
    return tuple(int.from_bytes(digest[4 * at : 4 * at + 4], "little") % SLOTS for at in range(count))
