"""What reads the trust policy of a server from time to time, and has what it refused tried again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lading.server.loading.manager import Manager
from lading.server.loading.trust import LoadGate

log = logging.getLogger("lading.server")

WATCH_S = 2.0
"""How often the files of the policy are read again: some kilobytes, in microseconds."""
_ATTESTED_EVERY = 3
"""In every third turn it is asked for what was attested since: that is a query to the catalog."""
_STOP_TIMEOUT_S = 5.0


@contextmanager
def watching(gate: LoadGate | None, manager: Manager, *, every_s: float = WATCH_S) -> Iterator[None]:
    """Read the policy from time to time, and have what was refused tried again, until the block ends."""
    if gate is None:
        yield
        return
    stop = threading.Event()
    # A daemon: a read from a hanging file system must not keep the process from its end.
    thread = threading.Thread(target=_watch, args=(gate, manager, stop, every_s), name="trust", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_STOP_TIMEOUT_S)


def _watch(gate: LoadGate, manager: Manager, stop: threading.Event, every_s: float) -> None:
    turn = 0
    while not stop.wait(every_s):
        turn += 1
        try:
            _turn(gate, manager, asks=turn % _ATTESTED_EVERY == 0)
        except Exception:
            # The edge of a thread: without this the policy would be read no more.
            log.exception("looking at the trust policy failed, trying again in %g s", every_s)


def _turn(gate: LoadGate, manager: Manager, *, asks: bool) -> None:
    if gate.reload():
        # Loaded models stay: a policy that is wrong by a letter must not stop what answers.
        gate.review(manager.answering())
        manager.reconsider(lambda _: True)
    elif asks:
        manager.reconsider(gate.has_more)
