"""Decides which version is taken out of traffic after workers have crashed. Pure: it reads no clock.

A worker may run several versions when it crashes, and nobody knows which of them did it. What is common to
several crashes tells.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence

from lading.server.loading.crashes import WITHIN_S
from lading.server.metrics.run_marks import Suspect

CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP}
)
"""Signals by which native code ends its process; all others come from outside."""

_ENOUGH = 2
_SURELY = 3  # From then on versions that cannot be distinguished go together.


class CrashCount:
    """Counts crashes by version over the last `WITHIN_S`."""

    def __init__(self) -> None:
        self._crashes: list[tuple[float, tuple[Suspect, ...]]] = []

    def add(self, suspects: Sequence[Suspect], now: float) -> list[tuple[Suspect, int]]:
        """Add a crash at `now`, on any clock; return what is taken out, and how often each has crashed.

        That takes two crashes. A candidate goes before the live version that ran with it; of versions that
        ran equally often, none goes before the third crash.
        """
        self._crashes = [crash for crash in self._crashes if now - crash[0] <= WITHIN_S]
        self._crashes.append((now, tuple(suspects)))
        counts = Counter(suspect.digest for _, ran in self._crashes for suspect in ran)
        candidates = {suspect.name for suspect in suspects if suspect.is_candidate}
        eligible = [
            suspect
            for suspect in suspects
            if counts[suspect.digest] >= _ENOUGH and (suspect.is_candidate or suspect.name not in candidates)
        ]
        most = max((counts[suspect.digest] for suspect in eligible), default=0)
        worst = [suspect for suspect in eligible if counts[suspect.digest] == most]
        out = [suspect for suspect in worst if suspect.is_candidate] or worst
        if len(out) > 1 and most < _SURELY:
            return []
        digests = {suspect.digest for suspect in out}
        # Explained: those that ran beside it are no suspects because of it any more.
        self._crashes = [
            (at, ran) for at, ran in self._crashes if not any(suspect.digest in digests for suspect in ran)
        ]
        return [(suspect, most) for suspect in out]
