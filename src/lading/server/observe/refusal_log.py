"""Logs what clients are refused before there is a request that a route could refuse.

The log shows the first of each ten seconds with the client's address, and how many more there were: a client
that does everything wrong must not fill a disk.
"""

from __future__ import annotations

import logging

log = logging.getLogger("lading.server")

_LINES_A_WINDOW = 10
_WINDOW_S = 10.0


class RefusalLog:
    """Logs refusals with the address of the client, at most ten lines in ten seconds."""

    def __init__(self) -> None:
        self._window_since = 0.0
        self._lines = 0
        self._unlogged = 0

    def note(self, now: float, client: tuple[str, int] | None, what: str) -> None:
        """Log what a `client` was refused, or count it if there was too much of this already."""
        self.tick(now)
        if self._lines == _LINES_A_WINDOW:
            self._unlogged += 1
            return
        if not self._lines:
            self._window_since = now
        self._lines += 1
        log.warning("%s: %s", client[0] if client else "a local client", what)

    def tick(self, now: float) -> None:
        """Log how many refusals were not logged, once their time is over."""
        if self._lines and now - self._window_since >= _WINDOW_S:
            if self._unlogged:
                log.warning("%d more refusals of connections in %g s", self._unlogged, _WINDOW_S)
            self._lines = self._unlogged = 0
