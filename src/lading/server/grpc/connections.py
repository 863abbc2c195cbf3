"""Keeps room for new gRPC connections, and file descriptors for everything else.

grpcio accepts connections itself, and when there are too many it refuses new ones, those of health checks
too. Here connections that hold a place and do nothing are shut down before that. They are looked for among
the descriptors of this process, which is possible on Linux only; elsewhere grpcio's own limits hold alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

Peer = tuple[str, int]

_FOLDER = "/proc/self/fd"

_GREETING_BYTES = 256
"""A connection that has received fewer has brought no call: preface, settings and pings are shorter."""

# Where the kernel says how long nothing has come, and how many bytes have come (`tcp_info` in linux/tcp.h).
_LAST_DATA_MS, _RECEIVED_BYTES, _INFO_BYTES = 52, 128, 136


class _Connection(NamedTuple):
    descriptor: int
    peer: Peer
    silent_ms: int
    received_bytes: int


class Connections:
    """The connections to the gRPC port of this process, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.port = 0

    def shut_down_surplus(self, busy_peers: Callable[[], set[Peer]]) -> list[Peer]:
        """Shut down idle connections when more than three quarters of the places are taken.

        First go those that have brought no call, then those that have been silent for longest. `busy_peers`
        names those whose calls are being answered. Return the peers.
        """
        many = self._most * 3 // 4
        # The first is cheap, and as a rule enough to see that there are few.
        if not hasattr(socket, "TCP_INFO") or sum(1 for _ in os.scandir(_FOLDER)) <= many:
            return []
        connections = list(self._list())
        if len(connections) <= many:
            return []
        busy = busy_peers()
        idle = [connection for connection in connections if connection.peer not in busy]
        idle.sort(key=lambda connection: (_has_called(connection), -connection.silent_ms))
        surplus = idle[: len(connections) - self._most // 2]
        return [connection.peer for connection in surplus if self._shut_down(connection)]

    def _list(self) -> Iterator[_Connection]:
        for entry in os.scandir(_FOLDER):
            descriptor = int(entry.name)
            with self._opened(descriptor) as (connection, peer):
                if connection is None:
                    continue
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
                if len(info) == _INFO_BYTES:  # Since Linux 4.2.
                    (silent_ms,) = struct.unpack_from("=I", info, _LAST_DATA_MS)
                    (received_bytes,) = struct.unpack_from("=Q", info, _RECEIVED_BYTES)
                    yield _Connection(descriptor, peer, silent_ms, received_bytes)

    def _shut_down(self, surplus: _Connection) -> bool:
        with self._opened(surplus.descriptor) as (connection, peer):
            if connection is None or peer != surplus.peer:
                return False  # It has ended meanwhile.
            try:
                # grpcio, whose descriptor is another, reads that it has ended and closes it.
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return False  # Its client has ended it in this moment.
            return True

    @contextlib.contextmanager
    def _opened(self, descriptor: int) -> Iterator[tuple[socket.socket | None, Peer]]:
        """Open a descriptor a second time: a connection to our port and its peer; None if it is none.

        The second one is ours: the first may be closed at any moment, and its number be another's.
        """
        with contextlib.ExitStack() as stack:
            connection, peer = None, ("", 0)
            with contextlib.suppress(OSError):  # It is closed by now, no socket, or listens.
                duplicate = os.dup(descriptor)
                stack.callback(os.close, duplicate)
                opened = socket.socket(fileno=duplicate)
                stack.callback(opened.detach)
                is_tcp = opened.family in (socket.AF_INET, socket.AF_INET6)
                if is_tcp and opened.getsockname()[1] == self.port:
                    host, port = opened.getpeername()[:2]
                    connection, peer = opened, (host.removeprefix("::ffff:"), port)
            yield connection, peer


def _has_called(connection: _Connection) -> bool:
    return connection.received_bytes > _GREETING_BYTES
