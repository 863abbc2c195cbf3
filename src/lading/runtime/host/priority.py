"""How much of the processors a process or a thread has beside others, where there are too few for all."""

from __future__ import annotations

import os

_LAST = 19


def step_behind(id: int, by: int) -> None:
    """Let a process, or on Linux a thread, come behind the caller: `by` more of niceness than its own.

    Relative, because only root may take niceness away from what was started with more of it.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, id, min(_LAST, own + by))
