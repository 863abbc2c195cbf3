"""What a worker process has from its supervisor, and the messages that both exchange.

Messages are lines of JSON over a socket pair. To the supervisor: ``ask`` (for the choice of what to serve),
``chosen``, ``waiting`` (to accept), ``settled`` (every version is ready or has failed), ``refused``. To the
worker: ``choose``, ``chosen``, ``accept``, ``crashed`` (a version is taken out). When the channel closes the
supervisor is gone, and the worker drains.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from lading import errors
from lading.errors import LadingError
from lading.server.loading.crashes import Crash
from lading.server.metrics.shared_memory import SharedMemory

Message = tuple[str, Any]
"""The kind of a message and its value."""

_READ_BYTES = 65536


class Channel:
    """One end of the socket pair between supervisor and worker; keeps the start of an incomplete message."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._rest = b""

    def send(self, kind: str, value: Any = None) -> bool:
        """Send one message; return False if the other process is gone."""
        try:
            self.socket.sendall(json.dumps([kind, value]).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Wait for the next messages; return None if the other process is gone."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return list(_messages(lines))


def _messages(lines: list[bytes]) -> Iterator[Message]:
    for line in lines:
        kind, value = json.loads(line)
        yield kind, value


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@dataclass
class WorkerContext:
    """What worker `number`, from 1, has from its supervisor: shared sockets and memory, and its channel.

    ``replica`` names the server that all workers form, which started at the Unix time ``started_at``;
    ``grpc_socket`` reserves the port of gRPC, ``weights_folder`` is where workers share weights, if they do.
    ``crashes`` lists the versions that were taken out before this worker began. ``log_inbox`` is where the
    writer of the prediction log takes connections, if predictions are logged.
    ``on_orphaned`` is called when the supervisor is gone; by default the worker drains as on SIGTERM.
    """

    number: int
    listener: socket.socket
    grpc_socket: socket.socket | None
    memory: SharedMemory
    channel: Channel
    replica: str
    started_at: float
    weights_folder: Path | None = None
    crashes: tuple[Crash, ...] = ()
    log_inbox: socket.socket | None = None
    on_orphaned: Callable[[], None] = _terminate
    _replies: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
    _may_accept: threading.Event = field(default_factory=threading.Event)
    _crashed: queue.SimpleQueue[Crash] = field(default_factory=queue.SimpleQueue)

    def listen(self) -> None:
        """Begin to receive messages of the supervisor, in a thread."""
        threading.Thread(target=self._receive, name="supervisor", daemon=True).start()

    def agree(self, choose: Callable[[], Any]) -> Any:
        """Return what all workers serve, which the first of them chooses, so that no two ever differ.

        None if it cannot be chosen yet: then this worker announces it later (`announce`), and the others
        wait.
        """
        self.channel.send("ask")
        # The supervisor keeps the choice: the successor of a killed worker gets it as well.
        kind, value = self._replies.get()
        if kind == "choose":
            value = choose()
            if value is not None:
                self.announce(value)
        return value

    def announce(self, choice: Any) -> None:
        """Send the other workers the choice of what to serve."""
        self.channel.send("chosen", choice)

    def report_settled(self, settled: threading.Event) -> None:
        """Report to the supervisor, once `settled` is set, that every version here is ready or has failed."""

        def report() -> None:
            settled.wait()
            self.channel.send("settled")

        threading.Thread(target=report, name="report settled", daemon=True).start()

    def wait_for_turn(self) -> None:
        """Wait until the supervisor lets this worker accept connections."""
        # While it loads it would refuse requests that other workers can answer.
        self.channel.send("waiting")
        self._may_accept.wait()

    def on_crash(self, take_out: Callable[[Crash], None]) -> None:
        """Call `take_out`, in a thread, for each version that crashed, before this call or after it."""
        for crash in self.crashes:
            take_out(crash)

        def follow() -> None:
            while True:
                take_out(self._crashed.get())

        threading.Thread(target=follow, name="crashes", daemon=True).start()

    def report_error(self, error: LadingError) -> None:
        """Report to the supervisor why this worker cannot serve."""
        # The attributes of an error are the arguments of its constructor.
        self.channel.send("refused", [type(error).__name__, vars(error)])

    def _receive(self) -> None:
        while (messages := self.channel.receive()) is not None:
            for message in messages:
                if message[0] == "accept":
                    self._may_accept.set()
                elif message[0] == "crashed":
                    self._crashed.put(msgspec.convert(message[1], Crash))
                else:
                    self._replies.put(message)
        self.on_orphaned()


def replica_id() -> str:
    """Return a new id for a server: its host's name and a random part."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def reported_error(value: tuple[str, dict[str, Any]]) -> LadingError:
    """Return the error that `WorkerContext.report_error` sent."""
    kind, fields = value
    error: LadingError = getattr(errors, kind)(**fields)
    return error
