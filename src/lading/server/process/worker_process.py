"""A worker as the supervisor sees it, and two pure decisions: which accepts next, when one is restarted.

Starts and ends no process; the supervisor does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lading.clock import back_off_s
from lading.server.process.worker import Channel

STEADY_S = 10.0
"""A worker that lived this long did not fail to start, whatever ended it."""

MAX_RESTART_DELAY_S = 30.0


@dataclass(eq=False)
class WorkerProcess:
    """One worker; ``pid`` is 0 while there is no process for it. Times are on the monotonic clock.

    ``asking`` is whether it waits for the choice of what to serve, ``waiting`` whether it waits to accept
    connections, ``settled`` whether every version in it is ready or has failed. ``failures`` counts early
    ends in a row; ``start_at`` is when it may be started, ``kill_at`` when a silent one is killed, 0 for
    never.
    """

    number: int
    pid: int = 0
    channel: Channel | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    asking: bool = False
    waiting: bool = False
    settled: bool = False
    accepting: bool = False
    kill_at: float = 0.0


def next_to_accept(workers: Sequence[WorkerProcess]) -> WorkerProcess | None:
    """Choose the worker that may accept connections now, or None if each that waits has to go on waiting.

    The first accepts immediately, so that probes get an honest answer while it loads. Every further one
    accepts when it has settled and so has one that accepts: a worker that still loads must not refuse
    requests that others would answer.
    """
    waiting = [worker for worker in workers if worker.waiting and not worker.accepting]
    accepting = [worker for worker in workers if worker.accepting]
    if accepting and not any(worker.settled for worker in accepting):
        return None
    # While none accepts, one that still loads is better than a port on which nothing answers.
    settled = [worker for worker in waiting if worker.settled]
    return next(iter(settled or (waiting if not accepting else [])), None)


def restart_delay_s(failures: int) -> float:
    """Return the pause before a restart after `failures` early ends in a row; none for the first."""
    # The first is restarted without a pause: most often the worker was killed through no fault of its own.
    return 0.0 if failures <= 1 else back_off_s(failures - 1, first_s=0.5, most_s=MAX_RESTART_DELAY_S)
