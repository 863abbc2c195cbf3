"""Counts the bytes that go to a server and come from it: a proxy whose copying the kernel does.

It cuts nothing and changes nothing; the tests have a proxy for that. What Python would copy would be measured
as the registry's own time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

from support.store_servers import Relay

AT_ONCE = 1 << 20


class Meter(Relay):
    """Passes connections on to a server; ``up`` and ``down`` are the bytes so far."""

    def __init__(self, server: str) -> None:
        self._turn = threading.Lock()
        self.up = 0
        self.down = 0
        super().__init__(server)

    def carry(self, client: socket.socket) -> None:
        """Pass both ways, each in a thread."""
        with client, socket.create_connection(self.server) as server:
            answers = threading.Thread(target=_copy, args=(server, client, self._came), daemon=True)
            answers.start()
            _copy(client, server, self._went)
            answers.join()

    def _went(self, count: int) -> None:
        with self._turn:
            self.up += count

    def _came(self, count: int) -> None:
        with self._turn:
            self.down += count


def _copy(source: socket.socket, sink: socket.socket, count: Callable[[int], None]) -> None:
    out, into = os.pipe()
    try:
        # Either side may go away at any moment, which is no matter of the meter.
        with contextlib.suppress(OSError):
            while came := os.splice(source.fileno(), into, AT_ONCE):
                count(came)
                while came:
                    came -= os.splice(out, sink.fileno(), came)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
    finally:
        os.close(out)
        os.close(into)


@contextlib.contextmanager
def metered(server: str) -> Iterator[Meter]:
    """Return a meter before `server` and close it in the end."""
    opened = Meter(server)
    try:
        yield opened
    finally:
        opened.close()
