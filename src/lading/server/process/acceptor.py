"""Accepts connections from the socket that all workers share, so that each gets its share of them.

uvloop would accept all waiting connections together, and eight clients that connect together would end up
with one worker. Here a worker accepts one connection at a time, and leaves it to the others for a moment
while it has more than one of them. A listening socket for each worker (SO_REUSEPORT) would be no better with
few clients, and the kernel would reset the connections that wait on the socket of a killed worker.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

log = logging.getLogger("lading.server")

PATIENCE_S = 0.005
"""How long a connection is left to workers that have fewer; by then they are too busy to accept it."""

_NO_DESCRIPTORS_S = 0.5


class Balance(Protocol):
    """What workers share about their connections."""

    def set_connections(self, count: int) -> None:
        """Publish how many connections this worker has."""
        ...

    def least_connections(self) -> int:
        """Return the number of connections of the accepting worker that has the fewest."""
        ...

    def heartbeat(self) -> None:
        """Record that the event loop of this worker runs."""
        ...

    def stop_heartbeat(self) -> None:
        """Record that no more heartbeats will follow."""
        ...


class Alone:
    """What a worker knows of others that has none; satisfies `Balance`."""

    def set_connections(self, count: int) -> None:
        """Publish nothing."""

    def least_connections(self) -> int:
        """Return more than this worker has: every connection is its own."""
        return 1 << 30

    def heartbeat(self) -> None:
        """Record nothing."""

    def stop_heartbeat(self) -> None:
        """Record nothing."""


class Acceptor:
    """Accepts until it is closed; uvicorn treats it as one of its servers.

    ``encryption`` returns the TLS context of a connection that begins now.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], Any],
        balance: Balance,
        encryption: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._balance = balance
        self._encryption = encryption
        self._loop = asyncio.get_running_loop()
        self._connections = 0
        self._closed = False
        self._connecting: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        self.count(0)
        self._loop.add_reader(self._listener.fileno(), self._ready)

    def count(self, connections: int) -> None:
        """Correct the number of connections, and send a heartbeat; called some times a second."""
        self._balance.heartbeat()
        self._connections = connections + len(self._connecting)
        self._balance.set_connections(self._connections)

    def close(self) -> None:
        """Accept no more."""
        if not self._closed:
            self._closed = True
            self._balance.stop_heartbeat()
            self._loop.remove_reader(self._listener.fileno())

    async def wait_closed(self) -> None:
        """Wait for the connections that are being made."""
        await asyncio.gather(*self._connecting)

    def _ready(self) -> None:
        if self._connections <= self._balance.least_connections():
            self._accept()
        else:
            self._pause(PATIENCE_S)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener.fileno(), self._ready)
            self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # Another worker was quicker, or the client has gone.
        except OSError as error:
            # Most likely the process has no file descriptors left.
            log.warning("cannot accept connections: %s", error.strerror)
            self._pause(_NO_DESCRIPTORS_S)
            return
        connection.setblocking(False)
        # Counted here and not when the protocol exists, because the next readiness may be handled before
        # that.
        self._connections += 1
        self._balance.set_connections(self._connections)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            _, protocol = await self._loop.connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._encryption() if self._encryption is not None else None,
            )
        except OSError:  # The client has gone, or does not speak TLS: nobody else has to know.
            connection.close()
            return
        if self._closed:
            # uvicorn has shut down the connections that it knew when it closed this acceptor; not this one.
            protocol.shutdown()
