"""A gRPC client that does what no library lets it do: frames of HTTP/2, one by one, over a real socket.

Headers are literals without indexing (RFC 7541, 6.2.2), so that nothing has to be remembered of them.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4
CANCEL = 8
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", name, value))


def message(data: bytes) -> bytes:
    """Return a message of gRPC: its length and itself."""
    return b"\0" + struct.pack(">I", len(data)) + data


def headers(method: str, more: Mapping[str, str] | None = None) -> bytes:
    """Return the headers of a call as a block without compression; texts are shorter than 127 bytes."""
    fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "te": "trailers", **(more or {})}
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


NO_SETTINGS = frame(SETTINGS, 0, 0)
READS_NOTHING = setting(INITIAL_WINDOW_SIZE, 0)


class RawConnection:
    """One connection whose streams are numbered as they are opened."""

    def __init__(self, address: str, *, settings: bytes = NO_SETTINGS, host: str = "127.0.0.1") -> None:
        name, _, port = address.rpartition(":")
        self.socket = socket.create_connection((name, int(port)), 10, (host, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE + settings)
        self._stream = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def next_stream(self) -> int:
        self._stream += 2
        return self._stream

    def open(self, method: str, payload: bytes = b"", *, ends: bool = False) -> int:
        """Send the headers of a call, and what there is of its message; return the stream."""
        stream = self.next_stream()
        block = frame(HEADERS, END_HEADERS, stream, headers(method))
        body = frame(DATA, END_STREAM if ends else 0, stream, payload) if payload or ends else b""
        self.socket.sendall(block + body)
        return stream

    def send_data(self, stream: int, payload: bytes) -> None:
        self.socket.sendall(frame(DATA, 0, stream, payload))

    def reset(self, stream: int) -> None:
        self.socket.sendall(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    def is_closed(self, within_s: float) -> bool:
        """Read whatever comes; return whether the server closes the connection within that time."""
        self.socket.settimeout(within_s)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True
