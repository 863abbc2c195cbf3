"""Brings a server of this machine into a network that has only a loopback, by a socket in the file system.

As a program it is the end inside: `python bridges.py PORT SOCKET` listens on 127.0.0.1:PORT there.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

Connect = Callable[[], socket.socket]


def unix_connection(path: str) -> socket.socket:
    """Connect to a socket in the file system."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def carry(client: socket.socket, connect: Connect) -> None:
    """Pass bytes both ways between a client and a connection of its own, until either ends."""
    with contextlib.suppress(OSError):
        server = connect()
        both = (client, server)
        threads = [threading.Thread(target=_copy, args=pair, daemon=True) for pair in (both, both[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.close()
    client.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def accept_all(listener: socket.socket, connect: Connect) -> None:
    """Carry each connection in a thread, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=carry, args=(client, connect), daemon=True).start()


class Bridge:
    """The end outside: the socket at `path` leads to `target`, a HOST:PORT that may change."""

    def __init__(self, path: Path, target: str) -> None:
        self.path = path
        self.target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=accept_all, args=(self._listener, self._connect), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, _, port = self.target.rpartition(":")
        return socket.create_connection((host, int(port)))

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()
        self.path.unlink()


if __name__ == "__main__":
    inside = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print("up", flush=True)
    accept_all(inside, lambda: unix_connection(sys.argv[2]))
