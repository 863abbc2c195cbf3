"""Clients that keep asking a server over REST and gRPC, and write down every answer: for tests under load."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from support.waiting import wait_until

ROW = b'{"data":[[5.1,3.5,1.4,0.2]]}'


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: when it was asked for and came, its status, and the digest of the bundle that gave it."""

    asked_at: float
    came_at: float
    status: int
    digest: str

    @property
    def took_s(self) -> float:
        return self.came_at - self.asked_at


@dataclass
class Answers:
    """What one client saw; ``broken`` are requests that got no answer because the connection ended."""

    answers: list[Answer] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)


class Clients:
    """Several clients, each in a thread of its own, until `stop`."""

    def __init__(self) -> None:
        self.seen: list[Answers] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, act: Callable[[Answers, threading.Event], None], count: int = 1) -> None:
        """Start `count` clients that all do `act`."""
        for _ in range(count):
            seen = Answers()
            self.seen.append(seen)
            thread = threading.Thread(target=act, args=(seen, self._stop), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End all of them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    @property
    def answers(self) -> list[Answer]:
        return [answer for seen in self.seen for answer in list(seen.answers)]

    def wait_for(self, digest: str, within_s: float = 20.0) -> None:
        """Wait until the bundle of this digest answers a request that is sent from now on."""
        since = time.time()

        def has_answered() -> bool:
            newest = (answer for seen in self.seen for answer in seen.answers[-20:])
            return any(answer.digest == digest and answer.asked_at > since for answer in newest)

        wait_until(has_answered, within_s, f"an answer of {digest}")

    @property
    def broken(self) -> list[float]:
        return [moment for seen in self.seen for moment in list(seen.broken)]


def rest(port: int, path: str = "/models/iris/predict") -> Callable[[Answers, threading.Event], None]:
    """Ask over one kept connection after another."""
    head = f"POST {path} HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(ROW)}\r\n\r\n".encode() + ROW

    def act(seen: Answers, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=30) as wire:
                    _ask_on(wire, request, seen, stop)
            except OSError:
                stop.wait(0.01)

    return act


def _ask_on(wire: socket.socket, request: bytes, seen: Answers, stop: threading.Event) -> None:
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while not stop.is_set():
        asked_at = time.time()
        try:
            wire.sendall(request)
            text = read_answer(wire)
        except OSError:
            text = b""
        if not text:
            seen.broken.append(asked_at)
            return
        head, _, _ = text.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        digest = next((line[17:] for line in lines if line.startswith(b"x-lading-digest: ")), b"")
        seen.answers.append(Answer(asked_at, time.time(), int(lines[0].split(b" ")[1]), digest.decode()))
        if b"\r\nconnection: close" in head:
            return


def read_answer(wire: socket.socket) -> bytes:
    """Read one answer, head and body."""
    text = b""
    while b"\r\n\r\n" not in text:
        part = wire.recv(65536)
        if not part:
            return b""
        text += part
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        part = wire.recv(65536)
        if not part:
            return b""
        body += part
    return head + b"\r\n\r\n" + body


def grpc(port: int, name: str = "iris") -> Callable[[Answers, threading.Event], None]:
    """Ask over one channel; a call that finds no connection waits for one (gRPC's wait for ready)."""
    import grpc as library

    from lading.server.grpc import descriptors

    request = descriptors.message("oip", "inference.ModelInferRequest")
    row = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)
    message = request(model_name=name)
    message.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(row.tobytes())
    wire = message.SerializeToString()

    def act(seen: Answers, stop: threading.Event) -> None:
        with library.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while not stop.is_set():
                asked_at = time.time()
                try:
                    _, done = call.with_call(wire, wait_for_ready=True, timeout=30)
                except library.RpcError as error:
                    if error.code() is library.StatusCode.UNAVAILABLE:
                        seen.broken.append(asked_at)
                    else:
                        seen.answers.append(Answer(asked_at, time.time(), error.code().value[0], ""))
                    continue
                digest = dict(done.trailing_metadata()).get("x-lading-digest", "")
                seen.answers.append(Answer(asked_at, time.time(), 200, str(digest)))

    return act
