"""Ports for servers that cannot take any free port themselves and say which."""

from __future__ import annotations

import random
import socket

_chance = random.SystemRandom()


def free_port() -> int:
    """Return a port that nobody uses, below those that the kernel assigns (from 32768 on)."""
    while True:
        port = _chance.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listening_socket(port: int = 0) -> socket.socket:
    """Return a socket that listens on a port of 127.0.0.1; on a free one without any."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener
