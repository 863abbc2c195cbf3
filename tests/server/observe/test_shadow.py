"""The queue of copies for a candidate in shadow."""

from __future__ import annotations

import queue

from lading.server.observe.shadow import Shadows
from lading.server.observe.windows import Windows


class Contended(queue.Queue):
    """A queue of which somebody else always takes the last copy just after it was said to be there."""

    # The moment between `empty` and `get_nowait` cannot be hit by will with a real thread.
    def empty(self) -> bool:
        return False


def test_the_thread_may_take_the_last_copy_while_the_queue_is_emptied():
    shadows = Shadows(Windows("replica-1"))
    shadows._waiting = Contended()
    shadows._start()
    thread = shadows._thread
    shadows.stop()
    assert thread is not None
    assert not thread.is_alive()
