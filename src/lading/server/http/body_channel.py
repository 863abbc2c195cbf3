"""Messages between a server and the process that reads its large bodies: msgpack, then arrays as they are.

    length of the head │ head: message, sizes of buffers │ buffer │ buffer …

Nothing is unpickled, and no numeric array is copied on its way. Both ends are processes of one server.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from lading import errors
from lading.errors import LadingError
from lading.signature import Array, Signature

_LENGTH_BYTES = 8
_STRINGS_A_BUFFER = 8192
"""Strings that are made at once: making all of a large array would hold up the event loop's thread."""


class Start(msgspec.Struct, tag=True):
    """First message to the reader: the settings of the server."""

    settings: dict[str, Any]


class Read(msgspec.Struct, tag=True):
    """To the reader: a request, whose body is the only buffer. Its job is kept as ``number``.

    ``forgotten`` are the numbers of jobs whose answers nobody waits for.
    """

    number: int
    forgotten: list[int]
    method: str
    path: str
    headers: dict[bytes, bytes]
    query: bytes
    request_id: bytes


class Find(msgspec.Struct, tag=True):
    """From the reader: which version does the request address? Answered by `Found` or `Refused`.

    ``how`` is the name of the data plane's method that is asked.
    """

    how: str
    name: str | None
    version: int | None
    tag: str | None


class Found(msgspec.Struct, tag=True):
    """To the reader: the version, and what reading and writing need to know of it."""

    name: str
    version: int
    digest: str
    tags: tuple[str, ...]
    signature: Signature
    labels: dict[str, str]


class IsTag(msgspec.Struct, tag=True):
    """To the reader: whether a tag exists."""

    exists: bool


class Described(msgspec.Struct):
    """One array among the buffers: as its bytes, or ``buffers`` lists of strings."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    buffers: int


class Inputs(msgspec.Struct, tag=True):
    """From the reader: what the body holds."""

    arrays: list[Described]
    outputs: tuple[str, ...] | None
    rows: int


class Outputs(msgspec.Struct, tag=True):
    """To the reader: what the model has computed of the `Inputs` that were read as ``number``."""

    number: int
    arrays: list[Described]


class Answer(msgspec.Struct, tag=True):
    """From the reader: a response, whose body is the only buffer."""

    status: int
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class Refused(msgspec.Struct, tag=True):
    """Either way: an error, as its class and what it is made of."""

    kind: str
    parts: dict[str, Any]

    @classmethod
    def of(cls, error: LadingError) -> Refused:
        """Describe `error`."""
        return cls(type(error).__name__, dict(vars(error)))

    def error(self) -> LadingError:
        """Return the error that was described."""
        kind: type[LadingError] = getattr(errors, self.kind)
        return kind(**self.parts)


Message = Start | Read | Find | Found | IsTag | Inputs | Outputs | Answer | Refused


class _Head(msgspec.Struct):
    message: Message
    sizes: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head).decode


class BodyChannel:
    """One end of the connection; used by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, message: Message, buffers: Sequence[Any] = ()) -> None:
        """Send a message and its buffers, which are bytes or contiguous arrays; raises `OSError`."""
        views = [memoryview(buffer).cast("B") if len(buffer) else memoryview(b"") for buffer in buffers]
        head = _encode(_Head(message, [len(view) for view in views]))
        self.connection.sendall(len(head).to_bytes(_LENGTH_BYTES, "little") + head)
        for view in views:
            self.connection.sendall(view)

    def receive(self) -> tuple[Message, list[bytearray]]:
        """Wait for a message; raises `EOFError` if the other end has closed, and `OSError`."""
        length = int.from_bytes(self._read(_LENGTH_BYTES), "little")
        head = _decode(self._read(length))
        return head.message, [self._read(size) for size in head.sizes]

    def has_message(self, timeout_s: float) -> bool:
        """Wait for a message to begin, or for the other end to close; return whether it has."""
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN)
        return bool(waiting.poll(timeout_s * 1000))

    def close(self) -> None:
        """Close this end."""
        self.connection.close()

    def _read(self, size: int) -> bytearray:
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            count = self.connection.recv_into(rest)
            if count == 0:
                raise EOFError
            rest = rest[count:]
        return buffer


def describe(arrays: Mapping[str, Array]) -> tuple[list[Described], list[Any]]:
    """Return what `arrays` are called and look like, and their values as buffers."""
    described, buffers = [], []
    for name, array in arrays.items():
        if array.dtype.kind == "O":
            strings = array.reshape(-1).tolist()
            parts: list[Any] = [
                _encode(strings[start : start + _STRINGS_A_BUFFER])
                for start in range(0, len(strings), _STRINGS_A_BUFFER)
            ]
        else:
            parts = [np.ascontiguousarray(array).reshape(-1).view(np.uint8)]
        described.append(Described(name, array.dtype.str, array.shape, len(parts)))
        buffers += parts
    return described, buffers


def arrays_of(described: Sequence[Described], buffers: Sequence[bytearray]) -> dict[str, Array]:
    """Return the arrays that `describe` took apart; numeric ones share the memory of their buffer."""
    arrays: dict[str, Array] = {}
    at = 0
    for each in described:
        parts = buffers[at : at + each.buffers]
        at += each.buffers
        if each.dtype == "|O":
            flat = np.empty(int(np.prod(each.shape, dtype=np.int64)), object)
            start = 0
            for part in parts:
                strings = msgspec.msgpack.decode(part, type=list[str])
                flat[start : start + len(strings)] = strings
                start += len(strings)
        else:
            flat = np.frombuffer(parts[0], each.dtype)
        arrays[each.name] = flat.reshape(each.shape)
    return arrays
