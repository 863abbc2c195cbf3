"""The good client: so many requests a second over REST and gRPC, on time whatever the answers do.

A latency counts from when the request was due, not from when it could be sent: what waits for a slow server
is slow. Started by `__main__`, as a process of its own; writes an array of `RECORD` when its time is up.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import numpy as np

RECORD = np.dtype([("due_s", "f8"), ("took_s", "f8"), ("way", "u1"), ("lost", "u1")])
HEALTH, GRPC_HEALTH = "GET /health", "gRPC health"
REASONS = ("", "closed", "timeout", "status", "answer")
_TIMEOUT_S = 10.0
_HEALTH_EVERY = 20  # in requests
_ROW = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)


class Lost(Exception):
    """A request without its answer, and which of `REASONS` that has."""


@dataclass(frozen=True)
class Way:
    """One way to ask; `ask` raises `Lost`."""

    name: str
    ask: Callable[[], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One REST connection with one request in flight."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.WriteTransport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(body) >= length and not self.answer.done():
            self._data = body[length:]
            self.answer.set_result(head[:12] + b" " + body[:length])

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(Lost("closed"))
            self.answer.exception()  # Looked at: an idle connection has nobody who waits.

    async def ask(self, request: bytes) -> bytes:
        assert self.transport is not None
        if self.answer.done():
            self.answer = asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            raise Lost("closed")
        self.transport.write(request)
        return await self.answer


class Rest:
    """As many kept connections as there are requests in flight."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []

    def way(self, name: str, path: str, body: bytes, content_type: str = "", **headers: str) -> Way:
        lines = [f"POST {path} HTTP/1.1", "host: soak", f"content-length: {len(body)}"]
        lines.append(f"content-type: {content_type or 'application/json'}")
        lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
        expected: list[bytes] = []

        async def ask() -> None:
            connection = await self._connected()
            answer = await connection.ask(request)
            self._idle.append(connection)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise Lost("status")
            if not expected:
                expected.append(answer)
            if answer != expected[0]:
                raise Lost("answer")

        return Way(name, ask)

    async def _connected(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        return await _connect(self._port)

    async def health(self) -> None:
        """Ask as a probe does, on a connection of its own."""
        connection = await _connect(self._port)
        try:
            answer = await connection.ask(b"GET /health HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n")
        finally:
            assert connection.transport is not None
            connection.transport.close()
        if not answer.startswith(b"HTTP/1.1 200"):
            raise Lost("status")


async def _connect(port: int) -> Connection:
    try:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    except OSError:
        raise Lost("closed") from None
    return connection


def grpc_way(name: str, target: str, method: str, message: bytes) -> Way:
    """Ask over a channel of its own; the answer must be the first one's."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    call = grpc.aio.insecure_channel(target, options).unary_unary(method)
    expected: list[bytes] = []

    async def ask() -> None:
        try:
            answer = await call(message, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            raise Lost("timeout" if late else "status") from None
        if not expected:
            expected.append(answer)
        if answer != expected[0]:
            raise Lost("answer")

    return Way(name, ask)


def ways(rest: Rest, target: str) -> list[Way]:
    """Return what the client asks in turn, REST and gRPC by halves."""
    from lading.server.grpc import descriptors

    row = _ROW.tolist()
    tensor = {"name": "X", "datatype": "FP32", "shape": [1, 4]}
    only = {"outputs": [{"name": "probabilities"}]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": _ROW.nbytes}}], **only})
    text = json.dumps({"inputs": [tensor | {"data": row}], **only})
    infer = descriptors.message("oip", "inference.ModelInferRequest")(
        model_name="iris", inputs=[tensor], raw_input_contents=[_ROW.tobytes()]
    )
    predict = descriptors.message("tfs", "tensorflow.serving.PredictRequest")()
    predict.model_spec.name = "iris"
    shape = {"dim": [{"size": size} for size in _ROW.shape]}
    predict.inputs["X"].CopyFrom(
        descriptors.message("tfs", "tensorflow.TensorProto")(
            dtype=1, tensor_shape=shape, float_val=_ROW.ravel().tolist()
        )
    )
    oip = grpc_way(
        "Open Inference, gRPC",
        target,
        "/inference.GRPCInferenceService/ModelInfer",
        infer.SerializeToString(),
    )
    tfs = grpc_way(
        "TensorFlow Serving, gRPC",
        target,
        "/tensorflow.serving.PredictionService/Predict",
        predict.SerializeToString(),
    )
    v2 = "/v2/models/iris/infer"
    binary = head.encode() + _ROW.tobytes()
    return [
        rest.way("native", "/models/iris/predict", json.dumps({"data": row}).encode()),
        oip,
        rest.way("Open Inference", v2, text.encode()),
        tfs,
        rest.way(
            "Open Inference, binary",
            v2,
            binary,
            "application/octet-stream",
            inference_header_content_length=str(len(head)),
        ),
        oip,
        rest.way("TensorFlow Serving", "/v1/models/iris:predict", json.dumps({"instances": row}).encode()),
        tfs,
    ]


class Ticks:
    """Due times every `every_s` by a timer of the kernel: the event loop's own has whole milliseconds."""

    def __init__(self, start_s: float, every_s: float) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        monotonic, nonblocking, absolute = 1, os.O_NONBLOCK, 1  # timerfd_create(2)
        self.fd = self._libc.timerfd_create(monotonic, nonblocking)
        parts = [part for at in (every_s, start_s) for part in divmod(round(at * 1e9), 10**9)]
        setting = struct.pack("4q", *parts)
        if self.fd < 0 or self._libc.timerfd_settime(self.fd, absolute, setting, None):
            raise OSError(ctypes.get_errno(), "no timer")

    def read(self) -> int:
        """Return how many have passed since the last read."""
        return int(struct.unpack("q", os.read(self.fd, 8))[0])


class Client:
    """Asks at every tick, and keeps the outcome."""

    def __init__(self, start_s: float, rate: float, all_ways: list[Way], probes: list[Way]) -> None:
        self.records: list[tuple[float, float, int, int]] = []
        self._start_s, self._every_s = start_s, 1 / rate
        self._ways, self._probes = all_ways, probes
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticks = Ticks(start_s, self._every_s)
        self._sent = 0

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._ticks.fd, self._tick)
        await asyncio.sleep(self._start_s + seconds - time.monotonic())
        loop.remove_reader(self._ticks.fd)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _tick(self) -> None:
        for _ in range(self._ticks.read()):
            due_s = self._start_s + self._sent * self._every_s
            self._begin(due_s, self._sent % len(self._ways), self._ways[self._sent % len(self._ways)])
            if self._sent % _HEALTH_EVERY == 0:
                for at, probe in enumerate(self._probes):
                    self._begin(due_s, len(self._ways) + at, probe)
            self._sent += 1

    def _begin(self, due_s: float, number: int, way: Way) -> None:
        task = asyncio.ensure_future(self._ask(due_s, number, way))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, due_s: float, number: int, way: Way) -> None:
        reason = ""
        try:
            await asyncio.wait_for(way.ask(), _TIMEOUT_S)
        except TimeoutError:
            reason = "timeout"
        except Lost as lost:
            reason = str(lost)
        took_s = time.monotonic() - due_s
        self.records.append((due_s - self._start_s, took_s, number, REASONS.index(reason)))


def start_at() -> float:
    """Say that this client is ready, and return when to begin, on the monotonic clock of all processes."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    return float(sys.stdin.readline())


async def main(port: int, target: str, seconds: float, rate: float, path: str) -> None:
    rest = Rest(port)
    all_ways = ways(rest, target)
    health = grpc_way(GRPC_HEALTH, target, "/grpc.health.v1.Health/Check", b"")
    probes = [Way(HEALTH, rest.health), health]
    for way in [*all_ways, *probes]:
        await way.ask()  # Imports, connections and the first answers are not measured.
    client = Client(start_at(), rate, all_ways, probes)
    await client.run(seconds)
    names = [way.name for way in [*all_ways, *probes]]
    np.savez(path, records=np.array(client.records, RECORD), ways=np.array(names))


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    asyncio.run(main(**arguments))
