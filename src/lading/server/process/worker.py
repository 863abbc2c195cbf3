"""A worker's place: what it has from its supervisor, and what they say to each other.

Lines of JSON over a socket pair. To the supervisor: ``ask`` (what shall be served?), ``chosen``, ``waiting``
(to accept), ``settled`` (every version is ready or has failed), ``refused``. To the worker: ``choose``,
``chosen``, ``accept``. Where the line ends the supervisor is gone, and the worker drains.
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

from lading import errors
from lading.errors import LadingError
from lading.server.metrics.shared_memory import SharedMemory

Message = tuple[str, Any]


class Channel:
    """One end of the line; keeps what came of a message that is not whole yet."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._rest = b""

    def send(self, word: str, value: Any = None) -> bool:
        """Say one thing; False where nobody is there to hear it."""
        try:
            self.socket.sendall(json.dumps([word, value]).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Wait for what is said next; None where the other end is gone."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return list(_messages(lines))


def _messages(lines: list[bytes]) -> Iterator[Message]:
    for line in lines:
        word, value = json.loads(line)
        yield word, value


@dataclass
class WorkerContext:
    """The place of worker `number`, from 1: the sockets and the memory that all share, and the line.

    ``replica`` names the server that all workers are, which began at the Unix time ``started_at``;
    ``weights_in`` is the folder by which they share weights, if they do.
    """

    number: int
    listener: socket.socket
    held: socket.socket | None
    memory: SharedMemory
    line: Channel
    replica: str
    started_at: float
    weights_in: Path | None = None
    _answers: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
    _turn: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        """Begin to hear the supervisor, in a thread."""
        threading.Thread(target=self._hear, name="supervisor", daemon=True).start()

    def agree(self, choose: Callable[[], Any]) -> Any:
        """Return what all workers serve: what the first of them chose, so that no two ever differ.

        None where it cannot be chosen yet: then this worker says it later (`chose`), while the others wait.
        """
        self.line.send("ask")
        word, value = self._answers.get()
        if word == "choose":
            value = choose()
            if value is not None:
                self.chose(value)
        return value

    def chose(self, value: Any) -> None:
        """Tell the other workers what to serve."""
        self.line.send("chosen", value)

    def settle(self, settled: threading.Event) -> None:
        """Tell the supervisor, once `settled` is set, that this worker is as ready as it will be."""

        def tell() -> None:
            settled.wait()
            self.line.send("settled")

        threading.Thread(target=tell, name="settle", daemon=True).start()

    def wait_for_turn(self) -> None:
        """Wait until this worker may accept connections: when it cannot refuse what another would answer."""
        self.line.send("waiting")
        self._turn.wait()

    def refuse(self, error: LadingError) -> None:
        """Tell the supervisor why this worker cannot serve."""
        said = {"expected": error.expected, "found": error.found, "hint": error.hint}
        self.line.send("refused", [type(error).__name__, error.where, said])

    def _hear(self) -> None:
        while (messages := self.line.receive()) is not None:
            for message in messages:
                if message[0] == "accept":
                    self._turn.set()
                else:
                    self._answers.put(message)
        os.kill(os.getpid(), signal.SIGTERM)


def replica_id() -> str:
    """Name a server, as no other is: by its host, and by chance."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def refusal(value: tuple[str, str, dict[str, str | None]]) -> LadingError:
    """Return the error of a ``refused`` message."""
    kind, where, said = value
    error: LadingError = getattr(errors, kind)(where, **said)
    return error
