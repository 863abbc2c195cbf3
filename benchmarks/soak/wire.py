"""What hostile clients send and see: connections, HTTP requests byte by byte, HTTP/2 frames by hand."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""The beginning of an HTTP/2 connection, with settings that change none."""

DATA, HEADERS, RESET, GOAWAY = 0, 1, 3, 7
_FRAME_NAMES = {HEADERS: "headers", RESET: "reset by the server", GOAWAY: "GOAWAY"}
_END_STREAM, _END_HEADERS = 1, 4
_WAIT_S = 20.0


@dataclass
class Target:
    """Where the server listens, and what one kind of client got from it, by status or what else happened."""

    port: int
    grpc_port: int
    got: Counter[str] = field(default_factory=Counter)

    @contextlib.asynccontextmanager
    async def connection(
        self, port: int = 0
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection, to REST unless `port` says otherwise; one that breaks is counted."""
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
            yield reader, writer
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.got["nothing in time" if isinstance(error, TimeoutError) else "closed"] += 1
        finally:
            if writer is not None:
                writer.transport.abort()

    async def ask(self, *pieces: bytes, shuts: bool = False, pause_s: float = 0.0) -> None:
        """Send one request in pieces, and count the status of its answer."""
        async with self.connection() as (reader, writer):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            if shuts:
                writer.write_eof()
            await self.read_answer(reader)

    async def read_answer(self, reader: asyncio.StreamReader) -> None:
        """Read one answer and count its status."""
        async with asyncio.timeout(_WAIT_S):
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            if b"content-length: " in lower:
                length = int(lower.partition(b"content-length: ")[2].split(b"\r\n")[0])
                while length:
                    part = await reader.read(min(length, 1 << 16))
                    if not part:
                        raise asyncio.IncompleteReadError(b"", length)
                    length -= len(part)
        self.got[head[9:12].decode()] += 1

    async def count_frames(self, reader: asyncio.StreamReader) -> None:
        """Count what an HTTP/2 server sends until it closes the connection."""
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == HEADERS and head[4] & _END_STREAM:
                self.got["ended by the server"] += 1
            elif name := _FRAME_NAMES.get(head[3]):
                self.got[name] += 1


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Do `work` while the block runs; its end cancels what is left of it."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def post(path: str, body: bytes = b"", *, packed: bool = False, headers: Iterable[str] = ()) -> bytes:
    """Write a request with a body, which `packed` compresses."""
    content = gzip.compress(body) if packed else body
    lines = [f"POST {path} HTTP/1.1", "host: soak", f"content-length: {len(content)}", *headers]
    if packed:
        lines.append("content-encoding: gzip")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write a frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def call_head(path: str, stream: int) -> bytes:
    """Write the beginning of a gRPC call; its headers as literals without Huffman (RFC 7541, 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "soak",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return frame(HEADERS, _END_HEADERS, stream, block)


def message(stream: int, content: bytes) -> bytes:
    """Write a gRPC message as the last data of its call."""
    return frame(DATA, _END_STREAM, stream, b"\0" + len(content).to_bytes(4, "big") + content)
