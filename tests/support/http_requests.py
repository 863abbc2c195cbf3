"""Requests as bytes, and the check of their answers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from support.wire import Answer, Listening, Wire

BODY = b'{"data":[[5.1,3.5,1.4,0.2]]}'


SETTINGS = {
    "max_body_bytes": 4096,
    "deadline_s": 1.0,
    "keep_alive_s": 1.0,
    "client_timeout_s": 1.0,
    "grpc_port": -1,
}


def request(
    body: bytes = BODY, path: str = "/predict", method: str = "POST", version: str = "1.1", **headers: str
) -> bytes:
    """Write a request; an underscore in the name of a header becomes a hyphen."""
    lines = [f"{method} {path} HTTP/{version}", "host: lading", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def is_correct(answer: Answer, expected: Sequence[float]) -> bool:
    """Return whether `answer` has the prediction that is `expected`."""
    return answer.status == 200 and np.allclose(answer.json()["prediction"], expected, rtol=1e-6)


@contextlib.contextmanager
def sent_in_one_stage(host: Listening, *data: bytes) -> Iterator[list[Wire]]:
    """Send each `data` over its own connection, so that one stage of the server receives all of it."""
    wires = [Wire(host.address) for _ in data]
    for wire in wires:  # Once it is answered, the server reads from its connection.
        wire.send(request())
        wire.answer()
    sent = threading.Event()
    # The loop reads nothing while it waits.
    host.loop.call_soon_threadsafe(sent.wait)
    for wire, part in zip(wires, data, strict=True):
        wire.send(part)
    sent.set()
    yield wires
    for wire in wires:
        wire.close()


def ask_in_one_stage(host: Listening, *requests: bytes) -> list[Answer]:
    """Send requests that one stage of the server receives; return their answers."""
    with sent_in_one_stage(host, *requests) as wires:
        return [wire.answer() for wire in wires]


def send_in_pieces(host: Listening, wire: Wire, data: bytes, *cuts: int) -> None:
    """Send `data` so that the server reads it in the pieces between `cuts`."""
    for start, end in pairwise((0, *cuts, len(data))):
        wire.send(data[start:end])
        host.wait_read(wire)
