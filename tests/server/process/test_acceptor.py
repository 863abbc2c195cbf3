"""Connections that workers share: one at a time, and left to the worker that has fewer."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from lading.server.process import acceptor as acceptor_module
from lading.server.process.acceptor import Acceptor


class FixedBalance:
    """What an acceptor sees of the other workers: one that always has `least` connections."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.published = -1
        self.heartbeats = 0
        self.stopped = False

    def heartbeat(self) -> None:
        self.heartbeats += 1

    def stop_heartbeat(self) -> None:
        self.stopped = True

    def set_connections(self, count: int) -> None:
        self.published = count

    def least_connections(self) -> int:
        return min(self.least, self.published)


class Recorder(asyncio.Protocol):
    """A connection that records when it was made, and closes."""

    def __init__(self, made_at: asyncio.Queue[float]) -> None:
        self._made_at = made_at

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made_at.put_nowait(time.monotonic())
        transport.close()

    def shutdown(self) -> None:
        """Called by the acceptor on connections that were made while it closed."""


async def accept_three(balance: FixedBalance) -> list[float]:
    """Return the seconds after which each of three waiting connections was accepted."""
    made_at: asyncio.Queue[float] = asyncio.Queue()
    listener = socket.create_server(("127.0.0.1", 0))
    clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    acceptor = Acceptor(listener, lambda: Recorder(made_at), balance)
    began = time.monotonic()
    acceptor.open()
    accepted_after = [await made_at.get() - began for _ in range(3)]
    acceptor.close()
    await acceptor.wait_closed()
    for opened in (*clients, listener):
        opened.close()
    return accepted_after


@pytest.mark.parametrize(("least", "immediately"), [(5, 3), (1, 2)])
def test_connections_beyond_the_share_of_a_worker_are_left_to_others_for_a_moment(
    monkeypatch, least, immediately
):
    monkeypatch.setattr(acceptor_module, "PATIENCE_S", 0.5)
    balance = FixedBalance(least)
    accepted_after = asyncio.run(accept_three(balance))
    assert sum(seconds < 0.45 for seconds in accepted_after) == immediately
    assert balance.published == 3


def test_an_acceptor_sends_heartbeats_until_it_is_closed():
    balance = FixedBalance(5)
    asyncio.run(accept_three(balance))
    assert balance.heartbeats > 0
    assert balance.stopped
