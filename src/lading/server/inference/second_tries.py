"""How much of a process may go into asking live what a candidate has refused. Asks nobody itself."""

from __future__ import annotations

from lading.traffic import CALLER_GROUPS

SHARE = 0.05
"""Of one core, all callers together: bodies made to be refused cost a server no more than that."""
_SAVED_S = 10.0
"""For how long unused time is saved up: refusals come in bursts."""


class SecondTries:
    """The time left for second tries; each group of callers has its own, and cannot use up another's."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share / CALLER_GROUPS
        self._used_up_at = [0.0] * CALLER_GROUPS

    def may_try(self, group: int, now: float) -> bool:
        """Return whether a caller of `group` has time left at `now`, on any steady clock."""
        return self._used_up_at[group] <= now

    def spend(self, group: int, now: float, took_s: float) -> None:
        """Note a try that ended at `now` and took as long."""
        # Threads of gRPC may do so at the same time: a try that is then not counted does no harm.
        self._used_up_at[group] = max(self._used_up_at[group], now - _SAVED_S) + took_s / self._share
